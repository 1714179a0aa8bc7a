//! Requests to providers: what is asked and answered. Whoever opens the gateway brings what sends them.

use std::future::Future;
use std::pin::Pin;

use secrecy::SecretString;

/// A request.
pub struct WebRequest {
    /// Where to.
    pub url: String,
    /// The header `Authorization`.
    pub authorization: Option<SecretString>,
    /// Posted as `application/x-www-form-urlencoded`; without it, the address is only read.
    pub form: Option<SecretString>,
}

/// What came back.
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The body, which is not large.
    pub body: Vec<u8>,
}

/// Nothing came back, or too much, or too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

/// What comes back.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<WebAnswer, Unreachable>> + Send + 'a>>;

/// Sends requests: bounded in time and size, and never on to another address than the one that was asked for.
pub trait Web: Send + Sync {
    /// Sends one.
    fn send(&self, request: WebRequest) -> Sending<'_>;
}

/// For a gateway without providers.
pub(super) struct NoWeb;

impl Web for NoWeb {
    fn send(&self, _: WebRequest) -> Sending<'_> {
        Box::pin(std::future::ready(Err(Unreachable)))
    }
}
