//! A server's process: it ends with the test that started it, also when that is killed.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A server's process. A thread of its own spawns it and waits with it, because the kernel's parent-death signal follows
/// the thread that spawned: so the server ends with the process even when no destructor runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts it, its words going to `log`. `signal` is what asks it to end at once.
    pub(crate) fn spawn(name: &str, mut command: Command, log: &Path, signal: &'static str) -> Self {
        let log = fs::File::create(log).expect("the server's directory is writable");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let (pid_sender, pid_receiver) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let keeper = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut child = command.spawn().expect("the server's program can be run");
                let _ = pid_sender.send(child.id());
                // Nothing is ever sent: it ends when the sender is dropped.
                let _ = stopped.recv();
                // A paused server must go on before it can take the signal to quit.
                for signal in [signal, "-CONT"] {
                    let _ = Command::new("kill")
                        .arg(signal)
                        .arg(child.id().to_string())
                        .stderr(Stdio::null())
                        .status();
                }
                let deadline = Instant::now() + Duration::from_secs(5);
                while matches!(child.try_wait(), Ok(None)) {
                    if Instant::now() > deadline {
                        let _ = child.kill();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
            .expect("a thread can be started");
        let pid = pid_receiver.recv().expect("the server's program can be run");
        Self { pid, stop: Some(stop), keeper: Some(keeper) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let is_zombie = status.lines().any(|line| line.starts_with("State:") && line.contains('Z'));
    !status.is_empty() && !is_zombie
}

pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").expect("the kernel gives random bytes");
    random.read_exact(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
