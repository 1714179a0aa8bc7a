//! Expressions: what they may be made of, and how they are printed.

use ringfence_policy::RelationName;
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DateTimeField, DollarQuotedString,
    Expr, ExtractSyntax, Ident, Interval, Subscript, TrimWhereField, TypedString, UnaryOperator, Value,
    ValueWithSpan,
};

use crate::comparisons::either;
use crate::refusal::Refusal;
use crate::relations::Meaning;
use crate::rewrite::{Writer, not_admitted};

/// How the relation that a statement changes is called in it.
pub(crate) const TARGET: &str = "_rf_t";

impl Writer<'_> {
    /// What names an item: PostgreSQL looks behind casts for it.
    pub(crate) fn uncast<'e>(&self, mut expression: &'e Expr) -> &'e Expr {
        while self.dialect.is_postgres()
            && let Expr::Cast { expr, .. } | Expr::Nested(expr) = expression
        {
            expression = expr;
        }
        expression
    }

    pub(crate) fn expression(&mut self, expression: &Expr) -> Result<(), Refusal> {
        self.nested(|writer| writer.expression_node(expression))
    }

    #[expect(clippy::too_many_lines, reason = "one flat match over the kinds of expressions")]
    fn expression_node(&mut self, expression: &Expr) -> Result<(), Refusal> {
        match expression {
            Expr::Identifier(name) => self.column(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) => self.column(parts),
            Expr::Value(value) => self.value(value),
            Expr::Nested(inner) => self.expression(inner),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::IsNull(operand) => self.test(operand, " IS NULL)"),
            Expr::IsNotNull(operand) => self.test(operand, " IS NOT NULL)"),
            Expr::IsTrue(operand) => self.test(operand, " IS TRUE)"),
            Expr::IsNotTrue(operand) => self.test(operand, " IS NOT TRUE)"),
            Expr::IsFalse(operand) => self.test(operand, " IS FALSE)"),
            Expr::IsNotFalse(operand) => self.test(operand, " IS NOT FALSE)"),
            Expr::IsUnknown(operand) if self.dialect.is_like_postgres() => self.test(operand, " IS UNKNOWN)"),
            Expr::IsNotUnknown(operand) if self.dialect.is_like_postgres() => {
                self.test(operand, " IS NOT UNKNOWN)")
            }
            Expr::IsDistinctFrom(left, right) => self.infix(left, " IS DISTINCT FROM ", right),
            Expr::IsNotDistinctFrom(left, right) => self.infix(left, " IS NOT DISTINCT FROM ", right),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::InSubquery { expr, subquery, negated } => self.in_query(expr, subquery, *negated),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, either(*negated, " NOT LIKE ", " LIKE "), pattern, escape_char.as_ref())
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char }
                if self.dialect.is_like_postgres() =>
            {
                self.like(expr, either(*negated, " NOT ILIKE ", " ILIKE "), pattern, escape_char.as_ref())
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char } if self.dialect.is_postgres() => self
                .like(
                    expr,
                    either(*negated, " NOT SIMILAR TO ", " SIMILAR TO "),
                    pattern,
                    escape_char.as_ref(),
                ),
            Expr::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(left, compare_op, " ANY (", right)
            }
            Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, " ALL (", right),
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.cast(expr, data_type),
            Expr::AtTimeZone { timestamp, time_zone } if self.dialect.is_postgres() => {
                self.raises();
                self.infix(timestamp, " AT TIME ZONE ", time_zone)
            }
            Expr::RLike { negated, expr, pattern, regexp: _ } if self.dialect.is_mysql() => {
                self.raises();
                self.infix(expr, either(*negated, " NOT REGEXP ", " REGEXP "), pattern)
            }
            Expr::Convert {
                is_try: false, expr, data_type: Some(data_type), charset: None, styles, ..
            } if self.dialect.is_mysql() && styles.is_empty() => self.cast(expr, data_type),
            Expr::Extract { field, syntax: ExtractSyntax::From, expr } if !self.dialect.is_sqlite() => {
                self.raises();
                self.text("EXTRACT(");
                self.date_time_field(field)?;
                self.text(" FROM ");
                self.expression(expr)?;
                self.text(")");
                Ok(())
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.special_call("ceil", &[expr])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.special_call("floor", &[expr])
            }
            Expr::Position { expr, r#in } if self.dialect.is_mysql() => {
                self.special_call("locate", &[expr, r#in])
            }
            Expr::Position { expr, r#in } if self.dialect.is_lake() => {
                self.special_call("strpos", &[r#in, expr])
            }
            Expr::Position { expr, r#in } if self.dialect.is_postgres() => {
                self.special_call("position", &[r#in, expr])
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), *shorthand)
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                self.trim(trim_where.as_ref(), trim_what.as_deref(), expr, trim_characters.as_deref())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } if self.dialect.is_postgres() => {
                let mut arguments = vec![expr.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()];
                arguments.extend(overlay_for.as_deref());
                self.special_call("overlay", &arguments)
            }
            Expr::Collate { expr, collation } => {
                // The parser takes it for a part of a qualified function's name otherwise.
                self.text("((");
                self.expression(expr)?;
                self.text(") COLLATE ");
                self.collation(collation)?;
                self.text(")");
                Ok(())
            }
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }) => {
                self.cast(&Expr::Value(value.clone()), data_type)
            }
            Expr::Function(function) => self.function(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Exists { subquery, negated } => self.exists(subquery, *negated),
            Expr::Subquery(query) => {
                self.raises();
                self.text("(");
                self.early(|writer| writer.query(query))?;
                self.text(")");
                Ok(())
            }
            Expr::Tuple(items) if !items.is_empty() => self.row(items),
            Expr::Array(Array { elem, named: true }) if self.dialect.is_postgres() => {
                self.text("ARRAY[");
                self.list(elem, Self::array_item)?;
                self.text("]");
                Ok(())
            }
            Expr::Interval(interval) if !self.dialect.is_sqlite() => self.interval(interval),
            Expr::CompoundFieldAccess { root, access_chain } if self.dialect.is_postgres() => {
                self.access(root, access_chain)
            }
            _ => Err(not_admitted("this kind of expression")),
        }
    }

    /// A column: as it is written when it is behind a fence, and what the policy makes of it in the changed relation.
    fn column(&mut self, parts: &[Ident]) -> Result<(), Refusal> {
        let names = parts.iter().map(|part| self.folded(part)).collect::<Result<Vec<_>, _>>()?;
        let (alias, name) = match names.as_slice() {
            [name] => (None, name.clone()),
            [alias, name] => (Some(alias.clone()), name.clone()),
            [schema, relation, name] => {
                let relation = RelationName::new(schema, relation);
                let alias = self.names.alias_of(&relation).map(str::to_owned);
                let unknown = || Refusal::UnknownRelation { name: relation.to_string() };
                (Some(alias.ok_or_else(unknown)?), name.clone())
            }
            _ => return Err(not_admitted("a name of so many parts")),
        };
        let meaning = match &alias {
            Some(alias) => self.names.qualified(alias, &name, self.same),
            None => self.names.unqualified(&name, self.same, self.dialect.system_columns),
        };
        match meaning {
            Meaning::Target(target) => self.target_column(&target, &name),
            // A fence has no such column, and what stands for it differs between versions.
            Meaning::Visible(None)
                if !self.dialect.is_postgres()
                    && self.dialect.system_columns.iter().any(|system| (self.same)(system, &name)) =>
            {
                Err(Refusal::UnknownColumn { name })
            }
            Meaning::WholeRow if self.is_renamed(&name) => self.renamed_row(&name),
            Meaning::PerhapsRow if self.is_renamed(&name) => {
                Err(not_admitted("a name that may be a column or a row: name the column with its relation"))
            }
            Meaning::Visible(_) | Meaning::WholeRow | Meaning::PerhapsRow => {
                if let Some(alias) = &alias {
                    self.name(alias);
                    self.text(".");
                }
                self.name(&name);
                Ok(())
            }
            Meaning::Unknown => Err(Refusal::UnknownColumn { name }),
            Meaning::Unclear => Err(not_admitted("a column name that could mean two things: qualify it")),
        }
    }

    /// A column of the relation that is changed, which stands there raw.
    pub(crate) fn target_column(
        &mut self,
        target: &ringfence_policy::Entitlement,
        name: &str,
    ) -> Result<(), Refusal> {
        let column = target.columns.iter().find(|column| (self.same)(&column.name, name));
        let column = column.ok_or_else(|| Refusal::UnknownColumn { name: name.to_owned() })?;
        match &column.mask {
            None => {
                self.qualified(TARGET, &column.name);
                Ok(())
            }
            Some(mask) => {
                self.text("(");
                self.policy(mask, TARGET)?;
                self.text(")");
                Ok(())
            }
        }
    }

    fn binary(&mut self, left: &Expr, operator: &BinaryOperator, right: &Expr) -> Result<(), Refusal> {
        let printed =
            crate::operators::binary(operator).filter(|printed| self.dialect.operators.contains(printed));
        let printed = printed.ok_or_else(|| not_admitted(&format!("the operator {operator}")))?;
        if self.dialect.is_mysql() {
            match (printed, right) {
                // MariaDB has no such operators, and MySQL these functions behind them.
                ("->", path) => return self.special_call("json_extract", &[left, path]),
                ("->>", path) => {
                    self.text("json_unquote(");
                    self.special_call("json_extract", &[left, path])?;
                    self.text(")");
                    return Ok(());
                }
                ("=" | "<>" | "<" | "<=" | ">" | ">=" | "<=>", right)
                    if compares(left) || compares(right) =>
                {
                    return Err(not_admitted("a comparison of comparisons without parentheses"));
                }
                _ => {}
            }
        }
        match printed {
            "AND" | "OR" | "XOR" => {}
            "=" | "<>" | "<" | "<=" | ">" | ">=" => {
                self.compared(left, std::slice::from_ref(right));
                self.text("(");
                self.beside(right, left)?;
                self.text(" ");
                self.text(printed);
                self.text(" ");
                self.beside(left, right)?;
                self.text(")");
                return Ok(());
            }
            _ => self.raises(),
        }
        self.text("(");
        self.expression(left)?;
        self.text(" ");
        self.text(printed);
        self.note_operator(printed);
        self.text(" ");
        self.expression(right)?;
        self.text(")");
        Ok(())
    }

    /// What is written as an operator is a function for SQLite, which asks whether it may be called.
    pub(crate) fn note_operator(&mut self, operator: &str) {
        if self.dialect.is_sqlite() && matches!(operator, "LIKE" | "GLOB" | "->" | "->>") {
            self.functions.push(operator.to_ascii_lowercase());
        }
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &Expr) -> Result<(), Refusal> {
        let (printed, raises) = match operator {
            UnaryOperator::Not => ("NOT ", false),
            UnaryOperator::Minus => ("- ", !is_number(operand)),
            UnaryOperator::Plus => ("+ ", !is_number(operand)),
            UnaryOperator::BitwiseNot => ("~ ", true),
            UnaryOperator::PGAbs if self.dialect.is_postgres() => ("@ ", true),
            UnaryOperator::PGSquareRoot if self.dialect.is_postgres() => ("|/ ", true),
            UnaryOperator::PGCubeRoot if self.dialect.is_postgres() => ("||/ ", true),
            _ => return Err(not_admitted("this operator")),
        };
        if raises {
            self.raises();
        }
        // A sign binds closer than `^`, though the parser reads it the other way.
        if let (
            UnaryOperator::Minus | UnaryOperator::Plus,
            Expr::BinaryOp { left, op: BinaryOperator::PGExp, right },
        ) = (operator, operand)
            && self.dialect.is_postgres()
        {
            self.text("(");
            self.nested(|writer| writer.unary(operator, left))?;
            self.text(" ^ ");
            self.expression(right)?;
            self.text(")");
            return Ok(());
        }
        self.text("(");
        self.text(printed);
        self.expression(operand)?;
        self.text(")");
        Ok(())
    }

    /// Comparing raises no error when both sides have one type, which is known for columns and constants.
    pub(crate) fn compared(&mut self, left: &Expr, others: &[Expr]) {
        let fits = |data_type: &str, constant: &Expr| {
            is_constant(constant) && (!self.dialect.is_lake() || fits_as_it_is(data_type, constant))
        };
        let is_safe = others.iter().all(|right| match (self.plain_type(left), self.plain_type(right)) {
            (Some(left), Some(right)) => left == right,
            (Some(left), None) => fits(&left, right),
            (None, Some(right)) => fits(&right, left),
            (None, None) => is_constant(left) && is_constant(right) && !self.dialect.is_lake(),
        });
        if !is_safe {
            self.raises();
        }
    }

    /// The declared type of a plain column.
    pub(crate) fn plain_type(&self, expression: &Expr) -> Option<String> {
        let path = self.column_path(expression)?;
        let meaning = match path.as_slice() {
            [name] => self.names.unqualified(name, self.same, self.dialect.system_columns),
            [alias, name] => self.names.qualified(alias, name, self.same),
            _ => return None,
        };
        let data_type = match (meaning, path.last()) {
            (Meaning::Visible(data_type), _) => data_type,
            (Meaning::Target(target), Some(name)) => {
                let column = target.columns.iter().find(|column| (self.same)(&column.name, name))?;
                column.mask.is_none().then(|| column.data_type.clone())
            }
            _ => None,
        };
        // The catalog does not say of what.
        data_type.filter(|name| name != "ARRAY")
    }

    fn array_item(&mut self, item: &Expr) -> Result<(), Refusal> {
        match item {
            Expr::Array(Array { elem, named: _ }) => {
                self.text("[");
                self.list(elem, Self::array_item)?;
                self.text("]");
                Ok(())
            }
            other => self.expression(other),
        }
    }

    fn interval(&mut self, interval: &Interval) -> Result<(), Refusal> {
        let Interval {
            value,
            leading_field,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        } = interval
        else {
            return Err(not_admitted("this form of INTERVAL"));
        };
        if self.dialect.is_mysql()
            && let Some(field) = leading_field
        {
            self.text("INTERVAL ");
            self.expression(value)?;
            self.text(" ");
            return self.date_time_field(field);
        }
        let Expr::Value(value) = value.as_ref() else {
            return Err(not_admitted("this form of INTERVAL"));
        };
        self.text("(INTERVAL ");
        self.value(value)?;
        if let Some(field) = leading_field {
            self.text(" ");
            self.date_time_field(field)?;
        }
        self.text(")");
        Ok(())
    }

    /// `array[1]`, `array[1:2]`, `json['a']`, `(row).field`.
    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<(), Refusal> {
        if matches!(root, Expr::Array(_)) {
            return Err(not_admitted("a subscript behind ARRAY[]: put it in parentheses"));
        }
        self.raises();
        self.text("(");
        self.expression(root)?;
        self.text(")");
        for access in chain {
            match access {
                AccessExpr::Dot(Expr::Identifier(name)) => {
                    self.text(".");
                    self.identifier(name)?;
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    self.text("[");
                    self.expression(index)?;
                    self.text("]");
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    self.text("[");
                    if let Some(bound) = lower_bound {
                        self.expression(bound)?;
                    }
                    self.text(":");
                    if let Some(bound) = upper_bound {
                        self.expression(bound)?;
                    }
                    self.text("]");
                }
                AccessExpr::Dot(_) | AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return Err(not_admitted("this kind of access"));
                }
            }
        }
        Ok(())
    }

    fn trim(
        &mut self,
        place: Option<&TrimWhereField>,
        what: Option<&Expr>,
        operand: &Expr,
        characters: Option<&[Expr]>,
    ) -> Result<(), Refusal> {
        let function = match place {
            None | Some(TrimWhereField::Both) if self.dialect.is_postgres() => "btrim",
            None | Some(TrimWhereField::Both) => "trim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        };
        if self.dialect.is_mysql()
            && let (Some(what), None) = (what, characters)
        {
            self.raises();
            self.text(match place {
                Some(TrimWhereField::Leading) => "TRIM(LEADING ",
                Some(TrimWhereField::Trailing) => "TRIM(TRAILING ",
                None | Some(TrimWhereField::Both) => "TRIM(BOTH ",
            });
            self.expression(what)?;
            self.text(" FROM ");
            self.expression(operand)?;
            self.text(")");
            return Ok(());
        }
        match (what, characters) {
            (None, None) => self.special_call(function, &[operand]),
            (Some(what), None) => self.special_call(function, &[operand, what]),
            (None, Some([characters])) => self.special_call(function, &[operand, characters]),
            _ => Err(not_admitted("this form of TRIM")),
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<(), Refusal> {
        self.text("(CASE");
        if let Some(operand) = operand {
            self.raises();
            self.text(" ");
            self.expression(operand)?;
        }
        for CaseWhen { condition, result } in conditions {
            self.text(" WHEN ");
            self.expression(condition)?;
            self.text(" THEN ");
            self.expression(result)?;
        }
        if let Some(otherwise) = otherwise {
            self.text(" ELSE ");
            self.expression(otherwise)?;
        }
        self.text(" END)");
        Ok(())
    }

    pub(crate) fn value(&mut self, value: &ValueWithSpan) -> Result<(), Refusal> {
        let ValueWithSpan { value, span: _ } = value;
        match value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) if text.contains('\0') => {
                return Err(not_admitted("a NUL character in a text"));
            }
            Value::DoubleQuotedString(text) | Value::NationalStringLiteral(text)
                if self.dialect.is_mysql() =>
            {
                self.string(text);
            }
            Value::Number(number, false) if is_plain_number(number) => self.text(number),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::DollarQuotedString(DollarQuotedString { value: text, tag: _ }) => self.string(text),
            Value::SingleQuotedByteStringLiteral(bits)
                if self.dialect.is_postgres() && bits.chars().all(|bit| matches!(bit, '0' | '1')) =>
            {
                self.text("B'");
                self.text(bits);
                self.text("'");
            }
            Value::HexStringLiteral(digits)
                if !self.dialect.is_postgres() && digits.chars().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                self.text("X'");
                self.text(digits);
                self.text("'");
            }
            Value::Boolean(true) => self.text("TRUE"),
            Value::Boolean(false) => self.text("FALSE"),
            Value::Null => self.text("NULL"),
            Value::Placeholder(name) => self.caller_placeholder(name)?,
            _ => return Err(not_admitted("this kind of constant")),
        }
        Ok(())
    }

    /// A text: no backslash escapes anything in it, by the settings of the sessions that it is sent on.
    pub(crate) fn string(&mut self, text: &str) {
        self.out.push('\'');
        for character in text.chars() {
            if character == '\'' {
                self.out.push('\'');
            }
            self.out.push(character);
        }
        self.out.push('\'');
    }
}

/// The columns that an expression names. `false` when there may be more: it holds a query, or something else that this
/// does not look into.
pub(crate) fn column_paths(writer: &Writer<'_>, expression: &Expr, paths: &mut Vec<Vec<String>>) -> bool {
    if let Some(path) = writer.column_path(expression) {
        paths.push(path);
        return true;
    }
    let mut each = |inner: &Expr| column_paths(writer, inner, paths);
    match expression {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => true,
        Expr::BinaryOp { left, op: _, right } => {
            let left = each(left);
            each(right) && left
        }
        Expr::UnaryOp { op: _, expr }
        | Expr::Cast { expr, .. }
        | Expr::Nested(expr)
        | Expr::Collate { expr, .. }
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::Extract { expr, .. } => each(expr),
        Expr::Function(function) => {
            let mut all = crate::functions::is_plain_call(function);
            for argument in crate::functions::plain_arguments(function) {
                all &= each(argument);
            }
            all
        }
        _ => false,
    }
}

/// Whether it is a comparison that no parentheses hold together.
fn compares(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryOp { op, .. } => {
            matches!(crate::operators::binary(op), Some("=" | "<>" | "<" | "<=" | ">" | ">=" | "<=>"))
        }
        Expr::Like { .. }
        | Expr::RLike { .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_) => true,
        _ => false,
    }
}

pub(crate) fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) => is_constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_number(expr),
        Expr::Cast { expr, .. } => is_constant(expr),
        _ => false,
    }
}

/// Whether a lake compares a column of the type with the constant as both are. Elsewhere the constant becomes one of the
/// column's type while the statement is planned; DataFusion may turn both into a third type, row by row, and fail there.
fn fits_as_it_is(data_type: &str, constant: &Expr) -> bool {
    match constant {
        Expr::Nested(inner) => fits_as_it_is(data_type, inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => fits_as_it_is(data_type, expr),
        Expr::Value(ValueWithSpan { value, span: _ }) => match value {
            Value::Null => true,
            Value::Number(number, _) => match data_type {
                "smallint" | "integer" | "bigint" => {
                    number.len() <= 18 && number.chars().all(|c| c.is_ascii_digit())
                }
                "real" | "double precision" => number.len() <= 18,
                _ => false,
            },
            Value::SingleQuotedString(_) => data_type == "text",
            Value::Boolean(_) => data_type == "boolean",
            _ => false,
        },
        _ => false,
    }
}

fn is_number(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(ValueWithSpan { value: Value::Number(..), span: _ }))
}

pub(crate) fn is_text(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(_)
                | Value::DoubleQuotedString(_)
                | Value::NationalStringLiteral(_),
            span: _
        })
    )
}

/// Digits, a point, an exponent: nothing that one reader takes for more than another.
fn is_plain_number(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).map_or((number, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_mantissa = (digits(whole) || (whole.is_empty() && digits(fraction)))
        && (digits(fraction) || fraction.is_empty());
    is_mantissa && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}
