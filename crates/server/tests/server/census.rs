//! The door census: every route has a case of isolation, and every case holds.

use std::collections::BTreeSet;

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::tickets::plant;
use crate::v1_client::{V1, read, segment};
use crate::world::{World, connect, key_of, make_database};

fn cases() -> Vec<Value> {
    let text = include_str!("../../../../cases/http/isolation.json");
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// `GET /v1/me` and so on: what the running server says that it serves.
async fn routes(server: &Server) -> BTreeSet<String> {
    let document = server.get(&format!("{}/openapi.json", server.url)).await.json();
    let paths = document["paths"].as_object().unwrap().clone();
    let of_path = |(path, item): (String, Value)| {
        let methods: Vec<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        methods.into_iter().map(move |method| format!("{method} {path}"))
    };
    paths.into_iter().flat_map(of_path).collect()
}

/// `POST /api/ping` and so on, from the source: that interface has no document. (Endpoints that are refused as a whole are
/// made from lists and name nothing.)
fn api_routes() -> BTreeSet<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/api");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let is_endpoint =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let endpoints =
        texts.iter().flat_map(|text| text.split("\"/api/").skip(1)).filter_map(|rest| rest.split('"').next());
    endpoints.filter(is_endpoint).map(|name| format!("POST /api/{name}")).collect()
}

#[tokio::test]
async fn every_route_has_a_case_of_isolation() {
    let server = Server::start().await;
    let mut routes = routes(&server).await;
    let of_api = api_routes();
    assert!(of_api.len() > 30, "the routes of /api/ are not written as they were: {of_api:?}");
    routes.extend(of_api);
    let tools = tools();
    assert_eq!(tools.len(), 12, "the tools are not written as they were: {tools:?}");
    routes.extend(tools);
    // Whatever path an organization publishes.
    routes.insert("GET /{published}".to_owned());
    let covered: BTreeSet<String> =
        cases().iter().map(|case| case["route"].as_str().unwrap().to_owned()).collect();
    let missing: Vec<_> = routes.difference(&covered).collect();
    assert!(missing.is_empty(), "add a case to cases/http/isolation.json for {missing:#?}");
    let stale: Vec<_> = covered.difference(&routes).collect();
    assert!(stale.is_empty(), "cases/http/isolation.json has cases for what is no route: {stale:#?}");
}

/// `POST /login` and so on, from the source. Who asks there is nobody yet: a whole suite holds each, and the file names it.
#[test]
fn every_door_without_a_key_has_a_suite() {
    let text = include_str!("../../src/http/actions.rs");
    let (_, table) = text.split_once("const SIGN_IN").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let doors: BTreeSet<&str> =
        table.split("(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(doors.contains("POST /login"), "the doors are not written as they were: {doors:?}");
    let file: Value = serde_json::from_str(include_str!("../../../../cases/http/isolation.json")).unwrap();
    let held = file["held_elsewhere"].as_array().unwrap();
    let named: BTreeSet<&str> = held.iter().map(|door| door["route"].as_str().unwrap()).collect();
    assert_eq!(named, doors, "cases/http/isolation.json, `held_elsewhere`");
    for door in held {
        let suite =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../").to_owned() + door["suite"].as_str().unwrap();
        let suite = std::fs::read_to_string(&suite).unwrap_or_else(|error| panic!("{suite}: {error}"));
        let path = door["route"].as_str().unwrap().split_once(' ').unwrap().1;
        // What stands between names that a path has, such as `{provider}`.
        let mut fixed = path.split('{').map(|part| part.rsplit('}').next().unwrap_or_default());
        assert!(fixed.all(|part| suite.contains(part)), "{door} is not asked");
    }
}

/// `TOOL /mcp/query` and so on, from the source: who may do less is offered less.
fn tools() -> BTreeSet<String> {
    let text = include_str!("../../src/mcp/tools.rs");
    let (_, names) = text.split_once("fn name(self)").unwrap();
    let (names, _) = names.split_once("\n    }\n").unwrap();
    let names = names.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    names.map(|name| format!("TOOL /mcp/{name}")).collect()
}

/// Who asks, and what the placeholders stand for.
struct Scene {
    world: World,
    rock_admin: String,
    fruit_admin: String,
    connection: String,
    /// Of fruit-admin, under a policy.
    guarded: String,
    query: String,
    /// Of banana-user, for fruit-admin to decide.
    tickets: Vec<String>,
}

impl Scene {
    async fn set(server: &Server) -> Self {
        let postgres = Postgres::shared().await;
        let world = World::make(server).await;
        make_database(postgres, "census_db").await;
        let connection = connect(server, &world.banana, postgres, "census_db").await;
        let v1 = V1::of(server);
        for (id, tenant) in [("rock-admin", "stone-tenant"), ("fruit-admin", "banana-tenant")] {
            let user = json!({"id": id, "tenant": tenant, "org": null, "roles": ["org-admin-user"]});
            v1.expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
        }
        v1.expect(&world.banana, "POST", "/v1/keys", json!({"name": "only-bananas"}), 201).await;
        v1.expect(&world.banana, "PATCH", "/v1/config", json!({"secret": "banana"}), 200).await;
        let path = format!("/v1/connections/{}/queries", segment(&connection));
        let submitted = v1.expect(&world.banana, "POST", &path, json!({"statement": "SELECT 1"}), 202).await;
        let query = submitted.json()["query_id"].as_str().unwrap().to_owned();
        let (rock_admin, fruit_admin) =
            (key_of(server, "rock-admin").await, key_of(server, "fruit-admin").await);
        make_database(postgres, "census_guarded").await;
        let guarded = connect(server, &fruit_admin, postgres, "census_guarded").await;
        let path = format!("/v1/policies/{}", segment(&guarded));
        let writes = json!({"create": "allow", "update": "allow", "delete": "allow"});
        let model = json!({"table": "public.movies", "write_policy": writes});
        v1.expect(&fruit_admin, "PUT", &path, json!({"models": {"Movie": model}}), 201).await;
        let cube = format!("/v1/cubes/{}/films", segment(&guarded));
        v1.expect(&fruit_admin, "PUT", &cube, json!({"table": "movies"}), 201).await;
        for (name, roles) in [("fruit-data", None), ("fruit-chiefs", Some(["org-admin-user"]))] {
            let path = format!("/{}", name.replace('-', "/"));
            let document = json!({"name": name, "path": path, "builtin": "whoami", "roles": roles});
            v1.expect(&fruit_admin, "PUT", &format!("/v1/endpoints/{name}"), document, 201).await;
        }
        let mut tickets = Vec::new();
        for _ in 0..4 {
            tickets.push(plant(server, &connection).await);
        }
        Self { world, rock_admin, fruit_admin, connection, guarded, query, tickets }
    }

    fn key(&self, who: &str) -> &str {
        match who {
            "banana" => &self.world.banana,
            "apple" => &self.world.apple,
            "stone" => &self.world.stone,
            "rock-admin" => &self.rock_admin,
            "fruit-admin" => &self.fruit_admin,
            other => panic!("nobody is called {other}"),
        }
    }

    async fn ask(&self, v1: &V1<'_>, case: &Value, who: &str, thing: Thing) -> Answer {
        let (method, route) = case["route"].as_str().unwrap().split_once(' ').unwrap();
        let nowhere = self.connection.replace("census_db", "nowhere_db");
        let (path, body, scope) = match thing {
            Thing::Theirs => (&case["theirs"], &case["body"], &self.connection),
            Thing::Missing if case["missing_body"].is_null() => (&case["missing"], &case["body"], &nowhere),
            Thing::Missing => (&case["missing"], &case["missing_body"], &nowhere),
        };
        let path = path.as_str().unwrap_or(route);
        let path = path
            .replace("$guarded", &segment(&self.guarded))
            .replace("$theirs", &segment(&self.connection))
            .replace("$missing", &segment(&nowhere));
        let path = (0..)
            .zip(&self.tickets)
            .fold(path, |path, (number, ticket)| path.replace(&format!("$ticket{number}"), ticket));
        let tool = path.strip_prefix("/mcp/").filter(|_| method == "TOOL");
        let (method, sent) = if tool.is_some() { ("POST", "/mcp") } else { (method, path.as_str()) };
        let mut request = v1.request(self.key(who), method, &sent.replace("$query", &self.query));
        if tool.is_some() {
            request = request.header("accept", "application/json, text/event-stream");
        }
        if let Some(accept) = case["accept"].as_str() {
            request = request.header("accept", accept);
        }
        if let Some(tag) = case["if_match"].as_str() {
            request = request.header("if-match", tag);
        }
        if !body.is_null() {
            let text = body.to_string().replace("$theirs", &self.connection).replace("$scope", scope);
            let text = text.replace("$query", &self.query).replace("$guarded", &self.guarded);
            let text = text.replace("$nowhere", &nowhere);
            let text = match tool {
                Some(name) => crate::mcp::tool(name, &serde_json::from_str(&text).unwrap()).to_string(),
                None => text,
            };
            request = request.header("content-type", "application/json").body(text);
        }
        read(request).await
    }
}

/// What a case is asked with.
#[derive(Clone, Copy)]
enum Thing {
    Theirs,
    Missing,
}

/// All that a client can tell apart, without what differs from call to call.
fn observable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let differs = |name: &str| ["date", "x-request-id"].contains(&name) || name.starts_with("ratelimit");
    let headers = answer.headers.iter().filter(|(name, _)| !differs(name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let text = answer.text.replace(answer.header("x-request-id"), "TRACE");
    (answer.status.as_u16(), headers.collect(), text)
}

#[tokio::test]
async fn what_is_somebody_elses_is_answered_like_what_is_missing() {
    // With somebody's provider, which nobody signs in at.
    let provider = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/http/providers.toml");
    let server = Server::start_with(&[("RINGFENCE_CONFIG", provider)]).await;
    let scene = Scene::set(&server).await;
    let v1 = V1::of(&server);
    for case in cases() {
        let route = &case["route"];
        let who = case["as"].as_str().unwrap();
        let of_theirs = scene.ask(&v1, &case, who, Thing::Theirs).await;
        assert!(of_theirs.status.as_u16() < 500, "{route}: {}", of_theirs.text);
        if case["hides"] == true {
            for word in ["banana", "fruit", "apple", "census_db"] {
                assert!(!of_theirs.text.contains(word), "{route} shows {word}: {}", of_theirs.text);
            }
            continue;
        }
        let of_missing = scene.ask(&v1, &case, who, Thing::Missing).await;
        assert_eq!(observable(&of_theirs), observable(&of_missing), "{route} as {who}");
        if let Some(owner) = case["owner"].as_str() {
            // Else the case would hold for a thing that nobody has.
            let of_owner = scene.ask(&v1, &case, owner, Thing::Theirs).await;
            assert!(of_owner.status.is_success(), "{route} as {owner}: {}", of_owner.text);
            assert_ne!(observable(&of_owner), observable(&of_missing), "{route}: this check can't fail");
        }
    }
    // Nothing of all that changed anything.
    let still = v1.expect(&scene.world.banana, "GET", "/v1/me", Value::Null, 200).await.json();
    assert_eq!(still["name"], "A user");
    let path = format!("/v1/connections/{}", segment(&scene.connection));
    v1.expect(&scene.world.banana, "GET", &path, Value::Null, 200).await;
}
