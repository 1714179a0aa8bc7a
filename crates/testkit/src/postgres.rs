//! A throw-away `PostgreSQL`: its own directory, port and superuser password, gone with the test.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

use crate::installation::{self, Installation};
use crate::process::{Process, is_alive, random_hex};

const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A running server on 127.0.0.1 with password authentication (scram). Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Postgres {
    directory: tempfile::TempDir,
    installation: Installation,
    port: u16,
    password: String,
    process: Mutex<Option<Process>>,
}

impl Postgres {
    /// Starts a server of its own.
    ///
    /// # Panics
    /// When `PostgreSQL` is not installed (`pg_config` must be on the path) or does not start.
    pub async fn start() -> Self {
        let (installation, directory) = tokio::task::spawn_blocking(prepare)
            .await
            .expect("preparing a server's directory does not panic");
        let mut server =
            Self { directory, installation, port: 0, password: random_hex(), process: Mutex::new(None) };
        server.boot_on_free_port().await;
        let client = server.trusted_client("postgres").await.expect("the server just answered");
        let set_password = format!("ALTER ROLE postgres PASSWORD '{}'", server.password);
        client.batch_execute(&set_password).await.expect("the superuser may set a password");
        server
    }

    /// The server that all tests of this process share. It stops with the process.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `postgres`.
    pub fn superuser_password(&self) -> &str {
        &self.password
    }

    /// Makes a database that belongs to `owner`; the role is made too when missing, with this password.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_database(&self, name: &str, owner: &str, password: &str) {
        let client = self.client("postgres").await;
        let role = client
            .query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&owner])
            .await
            .expect("pg_roles can be read");
        let owner = quote_name(owner);
        let password = password.replace('\'', "''");
        if role.is_none() && owner != "\"postgres\"" {
            let create = format!("CREATE ROLE {owner} LOGIN PASSWORD '{password}'");
            client.batch_execute(&create).await.expect("the superuser may create a role");
        }
        let create = format!("CREATE DATABASE {} OWNER {owner}", quote_name(name));
        client.batch_execute(&create).await.expect("the superuser may create a database");
    }

    /// A URL for a role and a database of this server.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let [user, password, database] = [user, password, database].map(percent_encode);
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection as superuser.
    ///
    /// # Panics
    /// When the server can't be reached.
    pub async fn client(&self, database: &str) -> Client {
        self.trusted_client(database).await.expect("the server accepts its superuser")
    }

    /// Stops the server at once, as a crash would; [`Postgres::restart`] brings it back with its data.
    ///
    /// # Panics
    /// When another thread panicked while starting or stopping it.
    pub fn stop(&self) {
        drop(self.process.lock().expect("no thread panics while it holds the process").take());
    }

    /// Stops the server if it runs, and starts it on the same port with the same data.
    ///
    /// # Panics
    /// When it does not come back.
    pub async fn restart(&self) {
        self.stop();
        assert!(self.boot().await, "PostgreSQL did not come back: {}", self.log());
    }

    /// Freezes the server and all its back ends: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn pause(&self) {
        self.signal_all("-STOP");
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn resume(&self) {
        self.signal_all("-CONT");
    }

    async fn boot_on_free_port(&mut self) {
        // Another process may take the port between our finding it and the server's taking it.
        for _ in 0..5 {
            let probe = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            self.port = probe.local_addr().expect("a bound socket has an address").port();
            drop(probe);
            if self.boot().await {
                return;
            }
        }
        panic!("PostgreSQL did not start: {}", self.log());
    }

    /// Starts the server and waits until it answers; false when it ended instead.
    async fn boot(&self) -> bool {
        let mut command = self.installation.command("postgres", Some("QUIT"));
        let directory = self.directory.path();
        command
            .arg("-D")
            .arg(directory.join("data"))
            .arg("-k")
            .arg(directory)
            .arg("-p")
            .arg(self.port.to_string());
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        let process = Process::spawn("testkit-postgres", command, &directory.join("log"), "-QUIT");
        let pid = process.pid;
        *self.process.lock().expect("no thread panics while it holds the process") = Some(process);
        let deadline = Instant::now() + START_LIMIT;
        while is_alive(pid) {
            if self.trusted_client("postgres").await.is_ok() {
                return true;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start in time: {}", self.log());
            tokio::time::sleep(POLL).await;
        }
        false
    }

    /// Connects through the socket in the server's own directory, which nobody else may enter.
    async fn trusted_client(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host_path(self.directory.path()).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn signal_all(&self, signal: &str) {
        let guard = self.process.lock().expect("no thread panics while it holds the process");
        let pid = guard.as_ref().expect("the server runs").pid;
        assert!(send(signal, pid), "the server takes signals");
        // After the server, which starts no more of them when it is stopped. One may have ended by itself meanwhile.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            assert!(send(signal, child) || !is_alive(child), "a back end takes signals");
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

fn send(signal: &str, pid: u32) -> bool {
    let kill = Command::new("kill").arg(signal).arg(pid.to_string()).status();
    kill.expect("kill is installed").success()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            drop(process.take());
        }
    }
}

/// A test need not survive the machine, and memory is dear when several servers run at once. Commits stay synchronous
/// (a write to the page cache): what was committed must be there after [`Postgres::stop`].
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "shared_buffers=16MB",
    "max_connections=100", "autovacuum=off", "max_wal_size=64MB", "unix_socket_permissions=0700",
];

fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Only the socket, which lies in a directory closed to others, is trusted.
const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// Finds the server and copies a database directory for it.
fn prepare() -> (Installation, tempfile::TempDir) {
    let ask = |flag: &str| {
        let output = Command::new("pg_config").arg(flag).output().expect("pg_config is installed");
        String::from_utf8(output.stdout).expect("pg_config speaks UTF-8").trim().to_owned()
    };
    let installation = Installation::of("pg", ask("--bindir"), &ask("--version"), "postgres");
    let directory = installation.directory_with_data(|data| {
        let mut initdb = installation.command("initdb", None);
        initdb
            .arg("-D")
            .arg(data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        initdb.args(["--wal-segsize=1", "--no-instructions"]);
        installation::run(initdb.current_dir("/"));
        fs::write(data.join("pg_hba.conf"), HBA).expect("the new database directory is writable");
    });
    (installation, directory)
}
