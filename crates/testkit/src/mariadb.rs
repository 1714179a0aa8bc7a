//! A throw-away `MariaDB`: its own directory and port, gone with the test.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::installation::{self, Installation};
use crate::process::{Process, is_alive};

const START_LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);

/// A running server on 127.0.0.1. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Mariadb {
    directory: tempfile::TempDir,
    installation: Installation,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Mariadb {
    /// Starts a server of its own.
    ///
    /// # Panics
    /// When `MariaDB` is not installed or does not start.
    pub async fn start() -> Self {
        let starting = tokio::task::spawn_blocking(|| {
            let (installation, directory) = prepare();
            let mut server = Self { directory, installation, port: 0, process: Mutex::new(None) };
            server.boot_on_free_port();
            server
        });
        starting.await.expect("starting a server panics for reasons of its own only")
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database, and a user who may do anything in it, with this password.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self, name: &str, owner: &str, password: &str) {
        self.sql(&format!(
            "CREATE DATABASE `{name}`; CREATE USER IF NOT EXISTS `{owner}`@`%` IDENTIFIED BY '{password}'; \
             GRANT ALL ON `{name}`.* TO `{owner}`@`%`"
        ));
    }

    /// Runs statements as the superuser, and answers what they print: a line for a row, tabs between values.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// Stops the server at once, as a crash would.
    ///
    /// # Panics
    /// When another thread panicked while starting or stopping it.
    pub fn stop(&self) {
        drop(self.process.lock().expect("no thread panics while it holds the process").take());
    }

    fn try_sql(&self, statements: &str) -> Result<String, String> {
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        client.arg("--socket").arg(self.directory.path().join("socket")).arg("--execute").arg(statements);
        let output = client.output().expect("the mariadb client is installed");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn boot_on_free_port(&mut self) {
        // Another process may take the port between our finding it and the server's taking it.
        for _ in 0..5 {
            let probe = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            self.port = probe.local_addr().expect("a bound socket has an address").port();
            drop(probe);
            if self.boot() {
                return;
            }
        }
        panic!("MariaDB did not start: {}", self.log());
    }

    /// Starts the server and waits until it answers; false when it ended instead.
    fn boot(&self) -> bool {
        let directory = self.directory.path();
        let mut command = self.installation.command("mariadbd", Some("KILL"));
        command.arg("--no-defaults").arg(format!("--port={}", self.port));
        for (option, file) in [("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("tmpdir", "")]
        {
            command.arg(format!("--{option}={}", directory.join(file).display()));
        }
        command.args(SETTINGS);
        let process = Process::spawn("testkit-mariadb", command, &directory.join("log"), "-KILL");
        let pid = process.pid;
        *self.process.lock().expect("no thread panics while it holds the process") = Some(process);
        let deadline = Instant::now() + START_LIMIT;
        while is_alive(pid) {
            if self.try_sql("SELECT 1").is_ok() {
                return true;
            }
            assert!(Instant::now() < deadline, "MariaDB did not start in time: {}", self.log());
            std::thread::sleep(POLL); // poll: until the deadline above
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            drop(process.take());
        }
    }
}

/// A test need not survive the machine, and memory is dear when several servers run at once. Character set and time zone
/// are not those that the engine asks for, so that it must.
const SETTINGS: [&str; 10] = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--character-set-server=latin1",
    "--default-time-zone=+09:00",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=16M",
    "--innodb-use-native-aio=0",
    "--performance-schema=OFF",
    LOG_SIZE,
];

/// The directory is copied for every test: a hundred times smaller than by default.
const LOG_SIZE: &str = "--innodb-log-file-size=4M";

/// Where packages put the server, which is no program for users and so not always on the path.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];

/// Finds the server and copies a database directory for it.
fn prepare() -> (Installation, tempfile::TempDir) {
    let ask = |place: &str| Command::new(format!("{place}/mariadbd")).arg("--version").output().ok();
    let found = PLACES.iter().find_map(|place| Some((*place, ask(place)?)));
    let (place, version) = found.expect("mariadbd is installed");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let installation = Installation::of("mariadb", place, &version, "mysql");
    let directory = installation.directory_with_data(|data| {
        let mut install = installation.command("/usr/bin/mariadb-install-db", None);
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", LOG_SIZE]);
        installation::run(install.current_dir("/"));
    });
    (installation, directory)
}
