//! Reads the certificate and key that HTTPS is served with.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFiles;

/// Loads both files. The error names the file and what is wrong with it, never what it holds.
pub(super) fn load(files: &TlsFiles) -> io::Result<RustlsConfig> {
    let chain = read_chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| refuse("key", &files.key, &reason(&error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            refuse("certificate", &files.certificate, &format!("it can't be used with the key: {error}"))
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

fn read_chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse("certificate", path, &reason(&error)))?;
    if chain.is_empty() {
        return Err(refuse("certificate", path, "it holds no CERTIFICATE section: give a PEM file"));
    }
    Ok(chain)
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => {
            "it holds no section of the kind that belongs here: give a PEM file".to_owned()
        }
        _ => "it is no valid PEM file".to_owned(),
    }
}

fn refuse(what: &str, path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the TLS {what} file {} can't be used: {why}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_that_is_wrong() {
        let home = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: home.path().join("cert.pem"), key: home.path().join("key.pem") };
        let missing = load(&files).unwrap_err().to_string();
        assert!(missing.contains("certificate file") && missing.contains("cert.pem"), "{missing}");
        std::fs::write(&files.certificate, "not a certificate").unwrap();
        let garbage = load(&files).unwrap_err().to_string();
        assert!(garbage.contains("CERTIFICATE"), "{garbage}");
    }
}
