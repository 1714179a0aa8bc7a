//! The same load straight to PostgreSQL: prepared statements on connections of its own.

use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::arguments::Arguments;
use crate::figures::{Figures, Observed};
use crate::load::scattered;

pub(crate) async fn run(arguments: &Arguments) -> Result<Figures, String> {
    let clients: u64 = arguments.number("clients", 1)?;
    let range: u64 = arguments.number("range", 1_000_000)?;
    let seconds: f64 = arguments.number("seconds", 3.0)?;
    let (url, query) = (arguments.needed("postgres")?, arguments.needed("query")?);
    let bound = arguments.text("bind").is_some();
    let mut signed_in = Vec::new();
    for _ in 0..clients {
        signed_in.push(sign_in(url, query).await.map_err(|error| error.to_string())?);
    }
    // Signing in is not what is measured.
    let start = Instant::now();
    let deadline = start + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = signed_in
        .into_iter()
        .zip(0_u64..)
        .map(|((client, statement), number)| {
            tokio::spawn(repeat(client, statement, bound.then_some(range), number << 32, deadline))
        })
        .collect();
    let mut observed = Vec::new();
    for task in tasks {
        observed.push(task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?);
    }
    Ok(Figures::new(observed, start.elapsed()))
}

async fn sign_in(url: &str, query: &str) -> Result<(Client, Statement), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let statement = client.prepare(query).await?;
    Ok((client, statement))
}

async fn repeat(
    client: Client,
    statement: Statement,
    range: Option<u64>,
    first: u64,
    deadline: Instant,
) -> Result<Observed, tokio_postgres::Error> {
    let mut observed = Observed::default();
    for index in first.. {
        if Instant::now() >= deadline {
            break;
        }
        let number = i64::try_from(scattered(index, range.unwrap_or(1))).unwrap_or(1);
        let bound: &[&(dyn ToSql + Sync)] = if range.is_some() { &[&number] } else { &[] };
        let sent = Instant::now();
        let rows = client.query(&statement, bound).await?;
        observed.note(sent.elapsed(), !rows.is_empty());
    }
    Ok(observed)
}
