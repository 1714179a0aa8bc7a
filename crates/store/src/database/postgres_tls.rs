//! Where the `PostgreSQL` store is and how its connections are protected: `sslmode` with the meanings libpq gives it
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Failure;
use super::postgres_wire::failure;

type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A database that can be connected to.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Target {
    /// Reads a URL. `sslmode` may be `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`; the
    /// last two need `sslrootcert` and both check the host's name.
    pub(super) fn parse(url: &SecretString) -> Result<Self, Failure> {
        let (url, mode, root_file) = take_tls_options(url.expose_secret());
        let mut config: Config = url.parse().map_err(|_| unusable("it is no PostgreSQL URL"))?;
        let verify = matches!(mode.as_deref(), Some("verify-ca" | "verify-full")) || root_file.is_some();
        config.ssl_mode(match mode.as_deref() {
            Some("disable") => SslMode::Disable,
            None | Some("allow" | "prefer") if !verify => SslMode::Prefer,
            None | Some("allow" | "prefer" | "require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some(_) => {
                return Err(unusable(
                    "its sslmode is none of disable, prefer, require, verify-ca, verify-full",
                ));
            }
        });
        config.connect_timeout(Duration::from_secs(5)).tcp_user_timeout(Duration::from_secs(15));
        config
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5));
        config.application_name("ringfence");
        Ok(Self { config, tls: MakeRustlsConnect::new(client_config(verify, root_file.as_deref())?) })
    }

    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, TlsStream>), Failure> {
        self.config.connect(self.tls.clone()).await.map_err(|error| failure(&error))
    }
}

/// Takes `sslmode` and `sslrootcert` out of a URL: the driver does not know all their values.
fn take_tls_options(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, options)) = url.split_once('?') else {
        return (url.to_owned(), None, None);
    };
    let (mut mode, mut root_file, mut rest) = (None, None, Vec::new());
    for option in options.split('&') {
        match option.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root_file = Some(percent_decode(value)),
            _ => rest.push(option),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (url, mode, root_file)
}

fn client_config(verify: bool, root_file: Option<&str>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS has no protocol version in common with its provider"))?;
    if !verify {
        let verifier = Arc::new(EncryptOnly(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let file =
        root_file.ok_or_else(|| unusable("sslmode=verify-* needs sslrootcert=<file of CA certificates>"))?;
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(file).map_err(|_| unusable("its sslrootcert can't be read"))?
    {
        let certificate = certificate.map_err(|_| unusable("its sslrootcert is no PEM file"))?;
        roots.add(certificate).map_err(|_| unusable("its sslrootcert holds an unusable certificate"))?;
    }
    if roots.is_empty() {
        return Err(unusable("its sslrootcert holds no certificate"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What `require` and `prefer` mean in libpq: encrypted against listeners, and no proof of who the server is.
#[derive(Debug)]
struct EncryptOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for EncryptOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn unusable(why: &str) -> Failure {
    Failure::Unavailable(format!("the store's URL can't be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_are_taken_out_and_the_rest_stays() {
        let url = "postgresql://u:p@h/d?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fa%20b.pem";
        let (rest, mode, root) = take_tls_options(url);
        assert_eq!(rest, "postgresql://u:p@h/d?connect_timeout=3");
        assert_eq!((mode.as_deref(), root.as_deref()), (Some("verify-full"), Some("/a b.pem")));
    }

    #[test]
    fn unusable_urls_are_refused_without_repeating_them() {
        let cases = [
            "postgresql://u:geheim@h:port/d",
            "mysql://u:geheim@h/d",
            "postgresql://u:geheim@h/d?sslmode=verify-full",
            "postgresql://u:geheim@h/d?sslmode=sometimes",
            "postgresql://u:geheim@h/d?sslmode=verify-ca&sslrootcert=/nonexistent",
        ];
        for url in cases {
            let Err(Failure::Unavailable(why)) = Target::parse(&url.into()) else {
                panic!("accepted: {url}")
            };
            assert!(!why.contains("geheim"), "{why}");
        }
    }
}
