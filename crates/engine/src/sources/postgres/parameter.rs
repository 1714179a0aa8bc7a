//! Parameters in the text format: PostgreSQL decides each one's type from where it stands, and reads it as that type.

use std::error::Error;
use std::fmt::Write as _;

use ringfence_guard::Parameter;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::SourceError;

/// A parameter as the driver takes it.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) &'a Parameter);

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match text(self.0) {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// No text of PostgreSQL's has a NUL character, and the driver would give the connection up for one.
pub(super) fn refuse_nul(parameters: &[Parameter]) -> Result<(), SourceError> {
    let has_nul = parameters.iter().any(|parameter| match parameter {
        Parameter::Text(text) => text.contains('\0'),
        Parameter::List(values) => refuse_nul(values).is_err(),
        Parameter::Null | Parameter::Integer(_) | Parameter::Float(_) | Parameter::Bool(_) => false,
    });
    if has_nul {
        return Err(SourceError::Statement {
            message: "a text has a NUL character, which the database can't hold".to_owned(),
            sqlstate: Some("22021".to_owned()),
        });
    }
    Ok(())
}

/// `None` for NULL.
fn text(parameter: &Parameter) -> Option<String> {
    Some(match parameter {
        Parameter::Null => return None,
        Parameter::Text(text) => text.clone(),
        Parameter::Integer(number) => number.to_string(),
        // With an exponent where it is long; `inf` and `NaN` are read too.
        Parameter::Float(number) => format!("{number:?}"),
        Parameter::Bool(true) => "true".to_owned(),
        Parameter::Bool(false) => "false".to_owned(),
        Parameter::List(values) => array(values),
    })
}

/// `{1,NULL,"a \"b\""}` (manual, 8.15.2). Texts are always quoted, so that none is taken for NULL or a number's end.
fn array(values: &[Parameter]) -> String {
    let mut array = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            array.push(',');
        }
        match (value, text(value)) {
            (_, None) => array.push_str("NULL"),
            (Parameter::Text(_), Some(text)) => {
                array.push('"');
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        array.push('\\');
                    }
                    array.push(character);
                }
                array.push('"');
            }
            (_, Some(text)) => array.push_str(&text),
        }
    }
    array.push('}');
    array
}

/// The parameters as literals of EXECUTE. With `E` in front they mean the same whatever `standard_conforming_strings` is.
pub(super) fn literals(parameters: &[Parameter]) -> String {
    let mut list = String::new();
    for (index, parameter) in parameters.iter().enumerate() {
        if index > 0 {
            list.push_str(", ");
        }
        match text(parameter) {
            None => list.push_str("NULL"),
            Some(text) => {
                let _ = write!(list, "E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{Parameter, literals, refuse_nul};

    #[test]
    fn literals_are_what_postgresql_reads() {
        let text = |text: &str| Parameter::Text(text.to_owned());
        for (parameter, literal) in [
            (Parameter::Null, "NULL"),
            (text("it's a \\ \"b\""), r#"E'it''s a \\ "b"'"#),
            (Parameter::Integer(i64::MIN), "E'-9223372036854775808'"),
            (Parameter::Float(1e300), "E'1e300'"),
            (Parameter::Float(f64::NAN), "E'NaN'"),
            (Parameter::Bool(true), "E'true'"),
            (Parameter::List(vec![]), "E'{}'"),
            (
                Parameter::List(vec![text("a'\"\\"), Parameter::Null, text("NULL"), Parameter::Integer(1)]),
                r#"E'{"a''\\"\\\\",NULL,"NULL",1}'"#,
            ),
            (
                Parameter::List(vec![Parameter::List(vec![Parameter::Bool(false)]), Parameter::List(vec![])]),
                "E'{{false},{}}'",
            ),
        ] {
            assert_eq!(literals(&[parameter]), literal);
        }
        assert_eq!(literals(&[Parameter::Null, Parameter::Integer(1)]), "NULL, E'1'");
        assert!(refuse_nul(&[Parameter::List(vec![text("a\0")])]).is_err());
        assert!(refuse_nul(&[text("a")]).is_ok());
    }
}
