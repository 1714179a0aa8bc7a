//! `ringfence load`: a file's rows into a table of a lake, through a running server.
//!
//! Like `ringfence mcp` it needs an address and a key, and no data directory: who loads is known to the server, and recorded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;

use super::failure::Failure;
use super::mcp::{KeySource, client, credential, server};
use super::{help, terminal};

/// Load a file into a table of a lake
///
/// CSV (with a line of names first), Parquet or Arrow, by the file's ending. All rows are taken in, or none; queries that run
/// meanwhile keep the rows that they began with. Needs a running server, and a key of somebody who may change the database.
#[derive(Debug, Args)]
#[command(after_help = help::LOAD)]
pub(crate) struct Load {
    /// The file
    file: PathBuf,
    /// Key of the connection, such as `lake:///sales`
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Name of the table [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Columns that no two rows share: one or several, with commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    keys: Vec<String>,
    /// Type of a column, such as `Price=numeric(10,2)`; once for each. Those of the others follow from the rows
    #[arg(long, value_name = "COLUMN=TYPE")]
    types: Vec<String>,
    /// Keep the rows that are there
    #[arg(long)]
    append: bool,
    /// Address of the server
    #[arg(long, value_name = "URL", env = "RINGFENCE_URL", default_value = "http://127.0.0.1:9859")]
    url: String,
    #[command(flatten)]
    key: KeySource,
}

/// What is read of the file at once.
const PIECE: usize = 256 * 1024;
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

impl Load {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let request = self.request()?;
        let mut key = credential(&self.key.read()?)?;
        key.set_sensitive(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send(request, key))
    }

    /// What is asked for, without the rows.
    fn request(&self) -> Result<(Uri, HeaderValue), Failure> {
        let media_type = media_type(&self.file)?;
        let table = match &self.table {
            Some(table) => table.clone(),
            None => self.file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mode = if self.append { "append" } else { "replace" };
        let mut query = format!("mode={mode}");
        if !self.keys.is_empty() {
            query += "&keys=";
            query += &encode(&Value::from(self.keys.clone()).to_string());
        }
        if !self.types.is_empty() {
            query += "&types=";
            query += &encode(&Value::from(types(&self.types)?).to_string());
        }
        let server = server(&self.url)?;
        let (connection, table) = (encode(&self.connection), encode(&table));
        let uri = format!("{server}/v1/connections/{connection}/tables/{table}?{query}");
        let uri =
            uri.parse().map_err(|_| Failure::usage("the connection or table can't be named like this"))?;
        Ok((uri, HeaderValue::from_static(media_type)))
    }

    async fn send(&self, request: (Uri, HeaderValue), key: HeaderValue) -> Result<ExitCode, Failure> {
        let (uri, media_type) = request;
        let about =
            |error: std::io::Error| Failure::from(error).about(format_args!("{}", self.file.display()));
        let file = tokio::fs::File::open(&self.file).await.map_err(about)?;
        let bar = terminal::bytes_bar(file.metadata().await.map_err(about)?.len());
        let mut request = Request::new(Body::from_stream(pieces(file, bar.clone())));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = uri;
        request.headers_mut().insert(AUTHORIZATION, key);
        request.headers_mut().insert(CONTENT_TYPE, media_type);
        let answered = client()?.request(request).await;
        let response =
            answered.map_err(|error| Failure::new(format_args!("the server can't be reached: {error}")))?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES).await;
        bar.finish_and_clear();
        let body = body.map_err(|error| Failure::new(format_args!("the answer broke off: {error}")))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            return Err(refused(status.as_u16(), &answer));
        }
        terminal::say(told(&answer));
        Ok(ExitCode::SUCCESS)
    }
}

fn media_type(file: &Path) -> Result<&'static str, Failure> {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("csv") => Ok("text/csv"),
        Some("parquet") => Ok("application/vnd.apache.parquet"),
        Some("arrow" | "feather" | "ipc") => Ok("application/vnd.apache.arrow.stream"),
        _ => Err(Failure::usage(format_args!("{}: what kind of file is it?", file.display()))
            .hint("its name ends in .csv, .parquet or .arrow")),
    }
}

fn types(given: &[String]) -> Result<Map<String, Value>, Failure> {
    given
        .iter()
        .map(|text| {
            let wrong = || Failure::usage(format_args!("--types: `{text}` is not written COLUMN=TYPE"));
            let (column, name) = text.rsplit_once('=').ok_or_else(wrong)?;
            Ok((column.to_owned(), Value::from(name)))
        })
        .collect()
}

fn pieces(
    file: tokio::fs::File,
    bar: ProgressBar,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold((file, bar), |(mut file, bar)| async move {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                bar.inc(read as u64);
                Some((Ok(Bytes::from(piece)), (file, bar)))
            }
            Err(error) => Some((Err(error), (file, bar))),
        }
    })
}

fn refused(status: u16, answer: &Value) -> Failure {
    let said = |name: &str| answer.get(name).and_then(Value::as_str);
    let failure = match (said("code"), said("detail")) {
        (Some(code), Some(detail)) => Failure::new(format_args!("{code}: {}", detail.replace("; ", "\n  "))),
        _ => Failure::new(format_args!("the server answered {status}")),
    };
    match said("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn told(answer: &Value) -> String {
    let columns = answer["columns"].as_array().into_iter().flatten().filter_map(|column| {
        Some(format!("{} {}", column.get("name")?.as_str()?, column.get("type")?.as_str()?))
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!(
        "loaded {} rows into {}: it has {} now (version {})\n{columns}",
        answer["loaded"],
        answer["table"].as_str().unwrap_or_default(),
        answer["rows"],
        answer["version"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_pairs() {
        let given = ["a=b=text".to_owned(), "Price=numeric(10,2)".to_owned()];
        assert_eq!(
            Value::from(types(&given).unwrap()).to_string(),
            r#"{"a=b":"text","Price":"numeric(10,2)"}"#
        );
        assert!(types(&["text".to_owned()]).is_err());
    }

    #[test]
    fn files_are_known_by_their_ending() {
        assert_eq!(media_type(Path::new("/a/b.CSV")).unwrap(), "text/csv");
        assert!(media_type(Path::new("b")).is_err());
    }
}
