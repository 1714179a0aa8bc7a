//! The throw-away server does what the tests that lean on it expect.

use std::time::{Duration, Instant};

use ringfence_testkit::Postgres;
use tokio_postgres::NoTls;

#[tokio::test]
async fn a_database_takes_its_owner_by_password_and_survives_a_restart() {
    let server = Postgres::start().await;
    server.create_database("d", "o'neil", "p@ss'/word").await;
    let url = server.url("o'neil", "p@ss'/word", "d");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    assert!(tokio_postgres::connect(&server.url("o'neil", "wrong", "d"), NoTls).await.is_err());
    assert!(tokio_postgres::connect(&server.url("postgres", "", "d"), NoTls).await.is_err());
    let superuser = server.url("postgres", server.superuser_password(), "d");
    assert!(tokio_postgres::connect(&superuser, NoTls).await.is_ok());

    server.stop();
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
    server.restart().await;
    let client = server.client("d").await;
    let row = client.query_one("SELECT a FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_paused_server_hangs_and_a_resumed_one_answers() {
    let server = Postgres::start().await;
    let client = server.client("postgres").await;
    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(200), client.query_one("SELECT 1", &[])).await;
    assert!(answer.is_err(), "a paused server answers nobody");
    server.resume();
    client.query_one("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn starting_is_quick_and_dropping_stops() {
    drop(Postgres::start().await);
    let started = Instant::now();
    let server = Postgres::start().await;
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    let port = server.port();
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
