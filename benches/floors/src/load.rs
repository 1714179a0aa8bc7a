//! Load over HTTP: clients that each send the next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::figures::{Figures, Observed};
use crate::http::Connection;

/// What is sent, and for how long.
struct Plan {
    address: String,
    head: String,
    body: String,
    range: u64,
    deadline: Option<Instant>,
    count: u64,
    /// Requests begun so far, of all clients.
    begun: AtomicU64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Figures, String> {
    let clients: usize = arguments.number("clients", 1)?;
    let count: u64 = arguments.number("count", 0)?;
    let seconds: f64 = arguments.number("seconds", 3.0)?;
    let start = Instant::now();
    let address = arguments.needed("address")?.to_owned();
    let path = arguments.needed("path")?;
    let header = arguments.text("header").map(|line| format!("{line}\r\n")).unwrap_or_default();
    let plan = Arc::new(Plan {
        head: format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{header}"
        ),
        address,
        body: arguments.needed("body")?.to_owned(),
        range: arguments.number("range", 1_000_000)?,
        deadline: (count == 0).then(|| start + Duration::from_secs_f64(seconds)),
        count,
        begun: AtomicU64::new(0),
    });
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(client(Arc::clone(&plan)))).collect();
    let mut observed = Vec::new();
    for task in tasks {
        observed.push(task.await.map_err(|error| error.to_string())??);
    }
    Ok(Figures::new(observed, start.elapsed()))
}

async fn client(plan: Arc<Plan>) -> Result<Observed, String> {
    let broken = |error: std::io::Error| format!("{}: {error}", plan.address);
    let mut connection = Connection::open(&plan.address).await.map_err(broken)?;
    let mut observed = Observed::default();
    loop {
        let index = plan.begun.fetch_add(1, Ordering::Relaxed);
        let over = plan.deadline.map_or(index >= plan.count, |deadline| Instant::now() >= deadline);
        if over {
            return Ok(observed);
        }
        let body = plan
            .body
            .replace("{n}", &scattered(index, plan.range).to_string())
            .replace("{i}", &index.to_string());
        let request = format!("{}Content-Length: {}\r\n\r\n{body}", plan.head, body.len());
        let sent = Instant::now();
        let status = connection.call(request.as_bytes()).await.map_err(broken)?;
        observed.note(sent.elapsed(), status == 200);
    }
}

/// A number from 1 to `range` that looks like chance and is the same in every run.
pub(crate) fn scattered(index: u64, range: u64) -> u64 {
    index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % range.max(1) + 1
}
