//! The addresses to listen on: are they free, and what to do when not.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use super::failure::Failure;

/// Refuses an address that can't be listened on, before anything is made: a first start that failed later would have
/// made the administrator and printed its only key beside an error. Bound and let go rather than kept, for the
/// front end binds itself; whoever takes the address in between gets the same error a moment later.
pub(crate) fn probe(address: SocketAddr, flag: &str) -> Result<(), Failure> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("can't listen on {address}: {error}");
            Err(failure(&Error::new(error.kind(), message), flag))
        }
    }
}

/// Why serving never began, with what to do.
pub(crate) fn failure(error: &Error, flag: &str) -> Failure {
    let failure = Failure::new(error);
    match error.kind() {
        ErrorKind::AddrInUse => failure.hint(format_args!(
            "choose another address with {flag}, or stop the program that listens there"
        )),
        ErrorKind::AddrNotAvailable => failure.hint(format_args!(
            "this machine does not have that address: choose another with {flag}, such as 127.0.0.1 or 0.0.0.0"
        )),
        ErrorKind::PermissionDenied => failure.hint(format_args!(
            "ports below 1024 are reserved: choose a higher one with {flag}, or allow this one (CAP_NET_BIND_SERVICE)"
        )),
        _ => failure,
    }
}
