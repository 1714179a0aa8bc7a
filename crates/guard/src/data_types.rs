//! Types in casts: by list, and by their full name.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo,
};

use crate::refusal::Refusal;
use crate::rewrite::{Writer, not_admitted};

impl Writer<'_> {
    pub(crate) fn data_type(&mut self, data_type: &DataType) -> Result<(), Refusal> {
        if self.dialect.is_mysql() {
            return self.mysql_type(data_type);
        }
        match data_type {
            DataType::SmallInt(None) | DataType::Int2(None) => self.text("SMALLINT"),
            DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => self.text("INTEGER"),
            DataType::BigInt(None) | DataType::Int8(None) => self.text("BIGINT"),
            DataType::Real | DataType::Float4 => self.text("REAL"),
            DataType::Double(ExactNumberInfo::None)
            | DataType::DoublePrecision
            | DataType::Float8
            | DataType::Float(ExactNumberInfo::None) => self.text("DOUBLE PRECISION"),
            DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
                self.text("NUMERIC");
                self.precision(info);
            }
            DataType::Bool | DataType::Boolean => self.text("BOOLEAN"),
            DataType::Text => self.text("TEXT"),
            DataType::Varchar(length)
            | DataType::CharVarying(length)
            | DataType::CharacterVarying(length) => {
                self.text("VARCHAR");
                self.length(length.as_ref())?;
            }
            DataType::Char(length) | DataType::Character(length) => {
                self.text("CHAR");
                self.length(length.as_ref())?;
            }
            DataType::Date => self.text("DATE"),
            DataType::Time(precision, zone) => self.clock("TIME", *precision, *zone)?,
            DataType::Timestamp(precision, zone) => self.clock("TIMESTAMP", *precision, *zone)?,
            DataType::Blob(None) if self.dialect.is_sqlite() => self.text("BLOB"),
            DataType::Custom(name, modifiers) => self.named_type(name, modifiers)?,
            DataType::Interval { fields: None, precision: None } => self.own_type("interval")?,
            DataType::JSON => self.own_type("json")?,
            DataType::JSONB => self.own_type("jsonb")?,
            DataType::Uuid => self.own_type("uuid")?,
            DataType::Bytea => self.own_type("bytea")?,
            DataType::TsVector => self.own_type("tsvector")?,
            DataType::TsQuery => self.own_type("tsquery")?,
            DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)) if self.dialect.is_postgres() => {
                self.nested(|writer| writer.data_type(element))?;
                self.text("[]");
            }
            other => {
                return Err(Refusal::TypeNotAllowed { name: other.to_string().chars().take(64).collect() });
            }
        }
        Ok(())
    }

    /// What CAST takes in MySQL and MariaDB alike.
    fn mysql_type(&mut self, data_type: &DataType) -> Result<(), Refusal> {
        let (word, precision) = match data_type {
            DataType::Signed | DataType::SignedInteger => ("SIGNED", None),
            DataType::Unsigned | DataType::UnsignedInteger => ("UNSIGNED", None),
            DataType::Date => ("DATE", None),
            DataType::Datetime(precision) => ("DATETIME", *precision),
            DataType::Time(precision, TimezoneInfo::None) => ("TIME", *precision),
            DataType::Binary(length) => ("BINARY", *length),
            DataType::Double(ExactNumberInfo::None) => ("DOUBLE", None),
            DataType::Float(ExactNumberInfo::None) => ("FLOAT", None),
            DataType::Char(length) => {
                self.text("CHAR");
                return self.length(length.as_ref());
            }
            DataType::Decimal(info) => {
                self.text("DECIMAL");
                self.precision(info);
                return Ok(());
            }
            other => {
                return Err(Refusal::TypeNotAllowed { name: other.to_string().chars().take(64).collect() });
            }
        };
        self.text(word);
        if let Some(precision) = precision {
            self.text(&format!("({precision})"));
        }
        Ok(())
    }

    fn precision(&mut self, info: &ExactNumberInfo) {
        match info {
            ExactNumberInfo::None => {}
            ExactNumberInfo::Precision(precision) => self.text(&format!("({precision})")),
            ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                self.text(&format!("({precision}, {scale})"));
            }
        }
    }

    fn length(&mut self, length: Option<&CharacterLength>) -> Result<(), Refusal> {
        match length {
            None => Ok(()),
            Some(CharacterLength::IntegerLength { length, unit: None }) => {
                self.text(&format!("({length})"));
                Ok(())
            }
            Some(_) => Err(not_admitted("this length of a type")),
        }
    }

    fn clock(&mut self, word: &str, precision: Option<u64>, zone: TimezoneInfo) -> Result<(), Refusal> {
        if !self.dialect.is_like_postgres() || (self.dialect.is_lake() && precision.is_some()) {
            return Err(Refusal::TypeNotAllowed { name: word.to_ascii_lowercase() });
        }
        self.text(word);
        if let Some(precision) = precision {
            self.text(&format!("({precision})"));
        }
        self.text(match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => "",
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => " WITH TIME ZONE",
        });
        Ok(())
    }

    /// A type by its name: built in, or an enumeration that a visible column has.
    fn named_type(&mut self, name: &ObjectName, modifiers: &[String]) -> Result<(), Refusal> {
        if !modifiers.is_empty() {
            return Err(not_admitted("modifiers of this type"));
        }
        let parts = self.parts(name)?;
        let known = |schema: Option<&str>, name: &str| {
            self.view
                .types
                .iter()
                .find(|known| known.1 == name && schema.is_none_or(|schema| known.0 == schema))
                .cloned()
        };
        let own = match parts.as_slice() {
            [name] => known(None, name),
            [schema, name] if self.dialect.function_schema != Some(schema.as_str()) => {
                known(Some(schema), name)
            }
            _ => None,
        };
        if let Some((schema, name)) = own {
            self.name(&schema);
            self.text(".");
            self.name(&name);
            return Ok(());
        }
        match parts.as_slice() {
            [name] => self.own_type(name),
            [schema, name] if self.dialect.function_schema == Some(schema.as_str()) => self.own_type(name),
            _ => Err(Refusal::TypeNotAllowed { name: parts.join(".") }),
        }
    }

    fn own_type(&mut self, name: &str) -> Result<(), Refusal> {
        let name = if self.dialect.folds { name.to_owned() } else { name.to_ascii_lowercase() };
        if !self.dialect.types.contains(&name.as_str()) {
            return Err(Refusal::TypeNotAllowed { name });
        }
        if let Some(schema) = self.dialect.function_schema {
            self.name(schema);
            self.text(".");
            self.name(&name);
        } else {
            self.text(&name);
        }
        Ok(())
    }
}
