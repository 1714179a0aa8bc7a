//! How a command fails: one sentence, what to do about it, and the exit code.

use std::fmt;
use std::process::ExitCode;

use ringfence_gateway::{Code, Refused};
use ringfence_store::StoreError;

use crate::config::ConfigInvalid;
use crate::telemetry::TelemetryInvalid;

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// What to do.
    hint: Option<String>,
    /// Asked wrongly: exit code 2 instead of 1.
    usage: bool,
}

impl Failure {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, usage: false }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { usage: true, ..Self::new(message) }
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// For commands whose exit code 1 is an answer: they fail with 2.
    pub(crate) fn could_not_run(self) -> Self {
        Self { usage: true, ..self }
    }

    /// Says what the failure is about.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl From<ConfigInvalid> for Failure {
    fn from(invalid: ConfigInvalid) -> Self {
        Self::usage(invalid).hint("`ringfence config show` prints every setting with its value")
    }
}

impl From<TelemetryInvalid> for Failure {
    fn from(invalid: TelemetryInvalid) -> Self {
        Self::usage(invalid)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let hint = match refused.code {
            Code::SourceNotAllowed => Some(
                "a command reads the configuration by itself: give it the --config or the variables of the server",
            ),
            Code::NotFound if refused.message == "connection not found" => {
                Some("give the key of a connection of that user, such as postgresql://app@db:5432/shop")
            }
            _ => None,
        };
        let failure = Self::new(refused);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::WrongSealingKey => Some(
                "give the key that was used so far: RINGFENCE_SEALING_KEY, or the file named by `sealing.key_file` \
                 (default <data-dir>/sealing.key). Without it the sealed secrets can't be read by anyone",
            ),
            StoreError::NewerSchema { .. } => {
                Some("use the newer ringfence, or restore the store from a backup")
            }
            StoreError::SealingKey(_) => {
                Some("the file must hold base64 of 32 bytes and be readable for its owner only: chmod 600")
            }
            StoreError::Unavailable(_) => {
                Some("check that the data directory, or the database, can be written")
            }
            _ => None,
        };
        let failure = Self::new(&error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
