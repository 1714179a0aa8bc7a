//! Limits and settings of one run, from what the caller asks and the operator allows.

use std::time::Duration;

use ringfence_engine::{RunOptions, SessionParameter};
use serde_json::Value;

use super::QueryRequest;
use crate::{GatewayConfig, Refused};

const MAX_SETTING_BYTES: usize = 256;
const MAX_SETTINGS: usize = 32;
/// What may be set, for the one who tried something else.
const ALLOWED: &str =
    "TimeZone, DateStyle, IntervalStyle, extra_float_digits, statement_timeout, lock_timeout, work_mem";

pub(crate) fn options(config: &GatewayConfig, request: &QueryRequest) -> Result<RunOptions, Refused> {
    let timeout = match request.timeout_ms {
        None | Some(0) => config.query_timeout,
        Some(asked) => Duration::from_millis(asked),
    };
    let current_schema = request.current_schema.clone().filter(|schema| !schema.is_empty());
    if current_schema.as_ref().is_some_and(|schema| schema.len() > MAX_SETTING_BYTES || schema.contains('\0'))
    {
        return Err(Refused::invalid("current_schema is no name of a schema"));
    }
    Ok(RunOptions {
        timeout: timeout.min(config.max_query_timeout),
        max_rows: request.max_rows.unwrap_or(config.default_rows).min(config.max_rows),
        max_bytes: config.max_result_bytes,
        current_schema,
        session_parameters: session_parameters(request)?,
        max_columns: None,
    })
}

fn session_parameters(request: &QueryRequest) -> Result<Vec<(SessionParameter, String)>, Refused> {
    if request.session_parameters.len() > MAX_SETTINGS {
        return Err(Refused::invalid(format!("too many session parameters: at most {MAX_SETTINGS}")));
    }
    let mut settings = Vec::new();
    for (name, value) in &request.session_parameters {
        let Some(parameter) = SessionParameter::named(name) else {
            return Err(Refused::invalid(format!(
                "a session parameter may not be set: allowed are {ALLOWED}"
            )));
        };
        let text = match value {
            // Null and absent mean the same.
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(on) => on.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(Refused::invalid("a session parameter is a text, a number or a boolean"));
            }
        };
        if text.len() > MAX_SETTING_BYTES || text.chars().any(char::is_control) {
            return Err(Refused::invalid(format!(
                "the value of a session parameter is at most {MAX_SETTING_BYTES} printable bytes"
            )));
        }
        settings.push((parameter, text));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(json: Value) -> Result<Vec<(SessionParameter, String)>, Refused> {
        let session_parameters = serde_json::from_value(json).unwrap();
        super::session_parameters(&QueryRequest { session_parameters, ..QueryRequest::default() })
    }

    #[test]
    fn only_harmless_settings_pass() {
        assert_eq!(
            settings(json!({"TIMEZONE": "UTC", "work_mem": 64, "lock_timeout": null})),
            Ok(vec![
                (SessionParameter::TimeZone, "UTC".to_owned()),
                (SessionParameter::WorkMem, "64".to_owned())
            ])
        );
        for refused in [
            json!({"search_path": "x"}),
            json!({"role": "postgres"}),
            json!({"session_authorization": "x"}),
            json!({"timezone": ["UTC"]}),
            json!({"timezone": {}}),
            json!({"timezone": "x".repeat(257)}),
            json!({"timezone": "a\nb"}),
        ] {
            assert_eq!(settings(refused.clone()).unwrap_err().code, crate::Code::InvalidRequest, "{refused}");
        }
    }
}
