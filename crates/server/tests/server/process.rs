//! A running `ringfence serve`, on a free port and a directory of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode};
use serde_json::Value;

/// The administrator's key in every test.
pub(crate) const ADMIN_KEY: &str = "abc123";

const START_LIMIT: Duration = Duration::from_secs(30);

/// Stops with its owner.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) admin_url: String,
    process: Child,
    client: Client,
    directory: tempfile::TempDir,
}

/// An answer with all that a test may look at.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_else(|| panic!("no detail in {}", self.text)).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings as environment variables, such as `RINGFENCE_SERVER__RATE_LIMIT`.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let admin_port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        // What is set where the tests run must not reach the server.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGFENCE_")) {
            command.env_remove(name);
        }
        let log = std::fs::File::create(directory.path().join("server.log")).unwrap();
        let process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .args(["--admin-listen", &format!("127.0.0.1:{admin_port}")])
            .env("RINGFENCE_ADMIN_KEY", ADMIN_KEY)
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            url: String::new(),
            admin_url: format!("http://127.0.0.1:{admin_port}"),
            process,
            client: Client::builder().no_proxy().build().unwrap(),
            directory,
        };
        server.wait_until_listening().await;
        server
    }

    /// The server's process, for signals.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where its store is.
    pub(crate) fn data_dir(&self) -> String {
        self.directory.path().join("data").to_str().unwrap().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }

    /// `POST /api/<endpoint>` as that key's owner.
    pub(crate) async fn call(&self, key: &str, endpoint: &str, body: &Value) -> Answer {
        self.send(endpoint, &[("authorization", &format!("Bearer {key}"))], body.to_string()).await
    }

    /// The same, and a success: its reply.
    pub(crate) async fn done(&self, key: &str, endpoint: &str, body: &Value) -> Value {
        let answer = self.call(key, endpoint, body).await;
        assert_eq!(answer.status, 200, "{endpoint}: {}", answer.text);
        answer.json()
    }

    /// `POST /api/<endpoint>` with these headers and this body, whatever they are.
    pub(crate) async fn send(
        &self,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.post(format!("{}/api/{endpoint}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::read(request).await
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        Self::read(self.client.get(url)).await
    }

    async fn read(request: reqwest::RequestBuilder) -> Answer {
        let response = request.timeout(Duration::from_mins(1)).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// Waits for the process to end, and says how.
    pub(crate) async fn ended(&mut self, within: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // poll: until the deadline above
        }
        None
    }

    async fn wait_until_listening(&mut self) {
        let file = self.directory.path().join("data").join("listen");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let written = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(url) = written.strip_suffix('\n') {
                url.clone_into(&mut self.url);
                return;
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no server ({ended:?}): {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await; // poll: until the deadline above
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
