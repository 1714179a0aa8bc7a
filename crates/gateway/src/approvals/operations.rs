//! What those who make tickets provide: how an operation is run, and how it is shown before.

use futures::future::BoxFuture;
use ringfence_policy::ConnectionKey;
use serde_json::Value;

use crate::{Call, Code, Gateway, Refused};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Operation<'a> {
    /// The requester's, which leads where it led when it was asked for.
    pub connection: &'a ConnectionKey,
    pub model: &'a str,
    pub action: &'a str,
    /// As it was given with the request.
    pub value: &'a Value,
}

/// Knows operations that need consent.
pub trait Operations: Send + Sync {
    /// Does it, all or nothing, as the one whose call it is: the requester as the store has them now. It is called once for a
    /// ticket, and not again whatever it answers. What it answers is kept, sealed, and shown to the requester alone.
    fn execute<'a>(
        &'a self,
        gateway: &'a Gateway,
        requester: &'a Call,
        operation: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>>;

    /// What it would do now, and to which rows. Nothing is changed. `viewer` is the call of the one who looks: an approver, or
    /// the requester.
    fn preview<'a>(
        &'a self,
        gateway: &'a Gateway,
        requester: &'a Call,
        viewer: &'a Call,
        operation: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>>;
}

/// Knows none: nothing runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOperations;

impl Operations for NoOperations {
    fn execute<'a>(
        &'a self,
        _: &'a Gateway,
        _: &'a Call,
        _: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async { Err(unknown()) })
    }

    fn preview<'a>(
        &'a self,
        _: &'a Gateway,
        _: &'a Call,
        _: &'a Call,
        _: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async { Err(unknown()) })
    }
}

fn unknown() -> Refused {
    Refused::new(Code::NotImplemented, "this gateway does not know how to run such an operation")
}
