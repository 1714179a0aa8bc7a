//! What must hold before a server makes anything: `serve` refuses to start without it, `config check` asks for the same.

use std::fmt::Display;
use std::path::Path;

use ringfence_policy::{NameInvalid, OrgId, TenantId, UserId};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::failure::Failure;
use super::opening::{check_sealing_key, organizations_of, refuse_exposed_store, refuse_file_as_data_dir};
use crate::config::{Config, Tls};
use crate::telemetry;
use crate::webhook::Webhook;

/// Shorter access keys of the administrator can be guessed.
pub(crate) const SHORTEST_KEY: usize = 16;

/// Refuses what a server could not, or should not, start with. Reads files and makes none.
pub(crate) fn refuse_unusable(config: &Config) -> Result<(), Failure> {
    telemetry::check(&config.log, &config.telemetry)?;
    Webhook::of(&config.approvals, config.egress()).map_err(Failure::usage)?;
    config.oidc.check().map_err(Failure::usage)?;
    refuse_wrong_names(config)?;
    refuse_weak_key(config)?;
    config.server.tls.as_ref().map_or(Ok(()), refuse_unusable_tls)?;
    check_sealing_key(config)?;
    if let Some(directory) = config.data_dir() {
        refuse_file_as_data_dir(&directory)?;
        refuse_exposed_store(config, &directory)?;
    }
    Ok(())
}

/// What a server starts with although it is probably not meant.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    if config.admin.key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST_KEY) {
        all.push(
            "the administrator's access key is short: good for trying out on this machine only".to_owned(),
        );
    }
    if is_open(config) && config.server.tls.is_none() {
        let message = "serving without TLS beyond this machine: access keys travel in the clear unless a proxy encrypts";
        all.push(message.to_owned());
    }
    let shared = config.sqlite.directories.iter().filter(|directory| organizations_of(directory).is_none());
    for directory in shared.filter(|directory| !directory.is_dir()) {
        all.push(format!(
            "`sqlite.directories`: {} is no directory, so that no connection can open a file there",
            directory.display()
        ));
    }
    all
}

/// Whether other machines can reach the server.
pub(crate) fn is_open(config: &Config) -> bool {
    !config.server.listen.ip().is_loopback()
}

fn refuse_wrong_names(config: &Config) -> Result<(), Failure> {
    let wrong = |name: &str, error: NameInvalid| Failure::usage(format_args!("`admin.{name}`: {error}"));
    OrgId::new(&config.admin.org).map_err(|error| wrong("org", error))?;
    TenantId::new(&config.admin.tenant).map_err(|error| wrong("tenant", error))?;
    UserId::new(&config.admin.user).map_err(|error| wrong("user", error))?;
    Ok(())
}

/// Whoever can reach the server can try keys: beyond this machine the administrator's must not be guessable.
fn refuse_weak_key(config: &Config) -> Result<(), Failure> {
    match &config.admin.key {
        Some(key) if is_open(config) && key.expose().len() < SHORTEST_KEY => Err(Failure::usage(format_args!(
            "the administrator's access key has fewer than {SHORTEST_KEY} characters, and {} can be reached from other \
             machines",
            config.server.listen
        ))
        .hint("set RINGFENCE_ADMIN_KEY to a long random text (openssl rand -hex 24), or listen on 127.0.0.1")),
        _ => Ok(()),
    }
}

/// Reads both files as the front end will, and tries the key on the certificate.
fn refuse_unusable_tls(tls: &Tls) -> Result<(), Failure> {
    let certificate = |why: &dyn Display| unusable_file("certificate", &tls.certificate, why);
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| certificate(&what_is_wrong(&error)))?;
    if chain.is_empty() {
        return Err(certificate(&"it holds no CERTIFICATE section"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| unusable_file("key", &tls.key, &what_is_wrong(&error)))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|error| certificate(&format_args!("it can't be used with the key: {error}")))?;
    Ok(())
}

fn unusable_file(setting: &str, path: &Path, why: &dyn Display) -> Failure {
    Failure::usage(format_args!(
        "`server.tls.{setting}`: the TLS {setting} file {} can't be used: {why}",
        path.display()
    ))
    .hint("give PEM files that ringfence may read, or leave [server.tls] out to serve without TLS")
}

fn what_is_wrong(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds no section of the kind that belongs here".to_owned(),
        _ => "it is no valid PEM file".to_owned(),
    }
}
