//! `ringfence demo`: a working system with sample data, from nothing, in a moment.
//!
//! [`shop`] makes the databases, [`world`] the people and their connections, [`tour`] asks as each of them and shows
//! what they got. Everything lives in a temporary directory that goes when the demo ends.

mod guide;
mod shop;
mod tour;
mod world;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::opening::{make_data_dir, open_gateway, open_store};
use super::serve::{close, runtime, stop_on_signals, url};
use super::terminal::spinner;
use super::{help, listening};
use crate::config::Config;
use crate::telemetry::{self, Telemetry};

/// Try it: sample data, users of two organizations, and a server, all set up
///
/// Makes two organizations with three tenants, a small shop database for each, and users of several roles; asks for
/// data as every one of them and shows who sees what; then serves until Ctrl-C, with keys to try it yourself. Needs no
/// network, no configuration and no other program, and leaves nothing behind.
#[derive(Debug, Args)]
#[command(after_help = help::DEMO)]
pub(crate) struct Demo {
    /// Address to serve on [default: 127.0.0.1:9859, or a free port when that is taken]
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address::parse)]
    listen: Option<SocketAddr>,
    /// End as soon as everything is shown
    #[arg(long, hide = true)]
    once: bool,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let begun = Instant::now();
        let home = tempfile::Builder::new().prefix("ringfence-demo-").tempdir()?;
        let config = demo_config(home.path(), self.address());
        listening::probe(config.server.listen, "--listen")?;
        let telemetry = telemetry::install(&config.log, &config.telemetry)?;
        let served = runtime(&config)?.block_on(self.show_and_serve(&config, home.path(), &telemetry, begun));
        telemetry.shutdown();
        served.map(|()| ExitCode::SUCCESS)
    }

    /// The default port, or a free one when another program has it.
    fn address(&self) -> SocketAddr {
        let default = Config::default().server.listen;
        self.listen.unwrap_or_else(|| match TcpListener::bind(default) {
            Ok(_) => default,
            Err(_) => SocketAddr::new(default.ip(), 0),
        })
    }

    async fn show_and_serve(
        &self,
        config: &Config,
        home: &Path,
        telemetry: &Telemetry,
        begun: Instant,
    ) -> Result<(), Failure> {
        let stop = CancellationToken::new();
        let leftovers = home.to_owned();
        stop_on_signals(stop.clone(), move || {
            let _ = std::fs::remove_dir_all(leftovers);
        })?;
        let steps = spinner();
        steps.set_message("Making sample databases");
        shop::make_all(&databases(home))?;
        steps.set_message("Starting the gateway");
        make_data_dir(config)?;
        let (gateway, _) = open_gateway(config, open_store(config).await?).await?;
        steps.set_message("Registering users and connections");
        let world = world::build(&gateway, config, &databases(home)).await?;
        steps.set_message("Asking as each of them");
        let findings = tour::ask_all(&gateway, &world).await?;
        steps.finish_and_clear();

        let ready = |address: SocketAddr, _admin: Option<SocketAddr>| {
            let server = url("http", address);
            guide::show(&guide::Shown {
                world: &world,
                findings: &findings,
                server: &server,
                home,
                took: begun.elapsed(),
            });
            if self.once {
                stop.cancel();
            }
        };
        let settings = config.http_settings();
        let metrics = Some(telemetry.prometheus.clone());
        let served = crate::http::serve(settings, gateway.clone(), metrics, stop.clone(), ready).await;
        close(&gateway).await;
        served.map_err(|error| listening::failure(&error, "--listen"))
    }
}

/// Nothing from files or the environment: the demo is the same everywhere.
fn demo_config(home: &Path, listen: SocketAddr) -> Config {
    let mut config = Config::default();
    config.server.listen = listen;
    config.server.drain_timeout = crate::config::quantity::Span::seconds(2);
    config.store.data_dir = Some(home.join("control"));
    config.sqlite.directories = vec![databases(home).join("{org}")];
    "ringfence".clone_into(&mut config.admin.org);
    "operations".clone_into(&mut config.admin.tenant);
    "root".clone_into(&mut config.admin.user);
    "Root".clone_into(&mut config.admin.name);
    // Random, so that not even a demo has a key that others know.
    let key = format!("demo-{}", uuid::Uuid::new_v4().simple());
    config.admin.key = Some(key.into());
    "error".clone_into(&mut config.log.filter);
    config
}

fn databases(home: &Path) -> std::path::PathBuf {
    home.join("databases")
}
