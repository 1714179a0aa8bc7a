//! Function calls: by list, and by their full name, so that none of the connection's own is found instead.

use sqlparser::ast::{
    DateTimeField, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, NamedWindowDefinition, NamedWindowExpr,
    NullTreatment, ObjectName, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use crate::admit::{EXCLUDE, VARIADIC};
use crate::refusal::Refusal;
use crate::rewrite::{Writer, not_admitted};

/// Longest text that `repeat` and padding may be asked for in one step.
const MAX_REPEAT: u64 = 10_000;

impl Writer<'_> {
    pub(crate) fn function(&mut self, function: &Function) -> Result<(), Refusal> {
        let Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = function
        else {
            return Err(not_admitted("this form of a function call"));
        };
        if self.dialect.is_mysql()
            && self.returning_from.is_some()
            && name.to_string().eq_ignore_ascii_case("values")
        {
            return self.inserted_value(args);
        }
        self.raises();
        self.callee(name, matches!(args, FunctionArguments::None))?;
        self.arguments(args)?;
        if !within_group.is_empty() {
            self.text(" WITHIN GROUP (ORDER BY ");
            self.list(within_group, Self::order_by_item)?;
            self.text(")");
        }
        if let Some(filter) = filter {
            self.text(" FILTER (WHERE ");
            self.expression(filter)?;
            self.text(")");
        }
        if null_treatment.is_some() && self.dialect.is_postgres() {
            return Err(not_admitted("IGNORE NULLS"));
        }
        match null_treatment {
            None => {}
            Some(NullTreatment::IgnoreNulls) => self.text(" IGNORE NULLS"),
            Some(NullTreatment::RespectNulls) => self.text(" RESPECT NULLS"),
        }
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(name)) => {
                self.windows.insert(name.value.clone());
                self.text(" OVER ");
                self.identifier(name)
            }
            Some(WindowType::WindowSpec(specification)) => {
                self.text(" OVER ");
                self.window_specification(specification)
            }
        }
    }

    /// `VALUES(column)` in ON DUPLICATE KEY UPDATE: what would have been inserted.
    fn inserted_value(&mut self, arguments: &FunctionArguments) -> Result<(), Refusal> {
        let argument = match arguments {
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: _ }) => {
                args.first().filter(|_| args.len() == 1)
            }
            _ => None,
        };
        let column = match argument {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))) => {
                self.folded(column)?
            }
            _ => return Err(not_admitted("this form of VALUES")),
        };
        let target = self.names.scopes.last().and_then(|scope| scope.sources.first());
        let visible = target
            .and_then(|target| target.columns.as_ref())
            .is_some_and(|columns| columns.iter().any(|known| (self.same)(&known.name, &column)));
        if !visible {
            return Err(Refusal::UnknownColumn { name: column });
        }
        self.text("VALUES(");
        self.name(&column);
        self.text(")");
        Ok(())
    }

    /// A call in FROM; answers the function's name.
    pub(crate) fn plain_call(
        &mut self,
        name: &ObjectName,
        arguments: &[FunctionArg],
    ) -> Result<String, Refusal> {
        self.raises();
        let function = self.callee(name, false)?;
        self.limit_size(&function, arguments)?;
        self.text("(");
        self.list(arguments, Self::argument)?;
        self.text(")");
        Ok(function)
    }

    /// A call that the statement wrote in words of its own, such as TRIM.
    pub(crate) fn special_call(&mut self, function: &str, arguments: &[&Expr]) -> Result<(), Refusal> {
        self.raises();
        self.function_name(function);
        self.text("(");
        self.list(arguments, |writer, argument| writer.expression(argument))?;
        self.text(")");
        Ok(())
    }

    /// A function of the database's own, by its full name.
    pub(crate) fn function_name(&mut self, function: &str) {
        if let Some(schema) = self.dialect.function_schema {
            self.name(schema);
            self.text(".");
            self.name(function);
        } else {
            self.text(function);
        }
        self.functions.push(function.to_owned());
    }

    fn note_function(&mut self, function: &str) {
        if !self.dialect.is_postgres() {
            self.functions.push(function.to_owned());
        }
    }

    fn callee(&mut self, name: &ObjectName, is_bare: bool) -> Result<String, Refusal> {
        let parts = self.parts(name)?;
        let not_allowed = || Refusal::FunctionNotAllowed { name: parts.join(".") };
        let is_own = self.dialect.function_schema;
        let function = match parts.as_slice() {
            [function] => function,
            [schema, function] if is_own == Some(schema.as_str()) => function,
            [schema, function]
                if self.view.functions.iter().any(|known| known.0 == *schema && known.1 == *function) =>
            {
                self.name(schema);
                self.text(".");
                self.name(function);
                self.functions.push(format!("{schema}.{function}"));
                return Ok(function.clone());
            }
            _ => return Err(not_allowed()),
        };
        let known = if self.dialect.folds { function.clone() } else { function.to_ascii_lowercase() };
        if is_bare {
            if !self.dialect.bare.contains(&known.as_str()) {
                return Err(not_allowed());
            }
            self.text(&known.to_ascii_uppercase());
            self.note_function(&known);
        } else if self.dialect.keywords.contains(&known.as_str()) {
            self.text(&known.to_ascii_uppercase());
        } else if self.dialect.is_function(&known) {
            self.function_name(&known);
        } else {
            return Err(not_allowed());
        }
        Ok(known)
    }

    fn arguments(&mut self, arguments: &FunctionArguments) -> Result<(), Refusal> {
        match arguments {
            FunctionArguments::None => Ok(()),
            FunctionArguments::Subquery(query) => {
                // `ARRAY(SELECT ...)` and functions of one sub-query.
                self.text("(");
                self.early(|writer| writer.query(query))?;
                self.text(")");
                Ok(())
            }
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) => {
                self.limit_size_of_last(args)?;
                self.text("(");
                match duplicate_treatment {
                    None | Some(DuplicateTreatment::All) => {}
                    Some(DuplicateTreatment::Distinct) => self.text("DISTINCT "),
                }
                let unit = self.written_unit(args)?;
                self.list(args.get(unit..).unwrap_or_default(), |writer, argument| {
                    writer.argument(argument)
                })?;
                for clause in clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(items) => {
                            self.text(" ORDER BY ");
                            self.list(items, Self::order_by_item)?;
                        }
                        FunctionArgumentClause::Separator(separator) if self.dialect.is_mysql() => {
                            self.text(" SEPARATOR ");
                            self.value(separator)?;
                        }
                        _ => return Err(not_admitted("this clause in a function call")),
                    }
                }
                self.text(")");
                Ok(())
            }
        }
    }

    fn argument(&mut self, argument: &FunctionArg) -> Result<(), Refusal> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => self.expression(expression),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {
                self.text("*");
                Ok(())
            }
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                let alias = self.wildcard_alias(&self.parts(name)?)?;
                if self.is_renamed(&alias) {
                    return self.renamed_row(&alias);
                }
                self.name(&alias);
                self.text(".*");
                Ok(())
            }
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            }
            | FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            } => {
                if name.value == VARIADIC {
                    self.text("VARIADIC ");
                } else {
                    self.identifier(name)?;
                    self.text(" => ");
                }
                self.expression(value)
            }
            _ => Err(not_admitted("this kind of argument")),
        }
    }

    /// `TIMESTAMPDIFF(DAY, ...)`: the first argument is a word, which is written here; answers how many were.
    fn written_unit(&mut self, arguments: &[FunctionArg]) -> Result<usize, Refusal> {
        let takes_unit = self.functions.last().is_some_and(|last| {
            self.dialect.is_mysql() && matches!(last.as_str(), "timestampdiff" | "timestampadd")
        });
        if !takes_unit {
            return Ok(0);
        }
        let unit = match arguments.first() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(unit)))) => {
                unit.value.to_ascii_uppercase()
            }
            _ => String::new(),
        };
        if !["MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]
            .contains(&unit.as_str())
        {
            return Err(not_admitted("this unit of time"));
        }
        self.text(&unit);
        self.text(", ");
        Ok(1)
    }

    /// One call must not be able to fill the memory of the database.
    fn limit_size(&self, function: &str, arguments: &[FunctionArg]) -> Result<(), Refusal> {
        if matches!(function, "repeat" | "lpad" | "rpad" | "zeroblob" | "printf") {
            self.limit_size_of_last(arguments)
        } else {
            Ok(())
        }
    }

    fn limit_size_of_last(&self, arguments: &[FunctionArg]) -> Result<(), Refusal> {
        if !self.functions.last().is_some_and(|last| matches!(last.as_str(), "repeat" | "lpad" | "rpad")) {
            return Ok(());
        }
        let size = arguments.get(1).and_then(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
                sqlparser::ast::Value::Number(digits, false) => digits.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        });
        match size {
            Some(size) if size > MAX_REPEAT => Err(not_admitted("a text of that length")),
            _ => Ok(()),
        }
    }

    pub(crate) fn named_window(&mut self, window: &NamedWindowDefinition) -> Result<(), Refusal> {
        let NamedWindowDefinition(name, definition) = window;
        // DataFusion never looks at it, so that nobody would say of a column in it that there is none.
        if self.dialect.is_lake() && !self.windows.contains(&name.value) {
            return Err(not_admitted("a window that nothing before it is computed over"));
        }
        self.identifier(name)?;
        self.text(" AS ");
        match definition {
            NamedWindowExpr::NamedWindow(other) => self.identifier(other),
            NamedWindowExpr::WindowSpec(specification) => self.window_specification(specification),
        }
    }

    pub(crate) fn window_specification(&mut self, specification: &WindowSpec) -> Result<(), Refusal> {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = specification;
        self.text("(");
        let excluded = window_name.as_ref().and_then(|name| name.value.strip_prefix(EXCLUDE));
        if let Some(name) = window_name.as_ref().filter(|_| excluded.is_none()) {
            self.windows.insert(name.value.clone());
            self.identifier(name)?;
            self.text(" ");
        }
        if !partition_by.is_empty() {
            self.text("PARTITION BY ");
            self.list(partition_by, Self::expression)?;
            self.text(" ");
        }
        if !order_by.is_empty() {
            self.text("ORDER BY ");
            self.list(order_by, Self::order_by_item)?;
        }
        if let Some(WindowFrame { units, start_bound, end_bound }) = window_frame {
            self.text(match units {
                WindowFrameUnits::Rows => " ROWS ",
                WindowFrameUnits::Range => " RANGE ",
                WindowFrameUnits::Groups => " GROUPS ",
            });
            if let Some(end) = end_bound {
                self.text("BETWEEN ");
                self.frame_bound(start_bound)?;
                self.text(" AND ");
                self.frame_bound(end)?;
            } else {
                self.frame_bound(start_bound)?;
            }
        }
        match excluded {
            None => {}
            Some("current_row_") => self.text(" EXCLUDE CURRENT ROW"),
            Some("group_") => self.text(" EXCLUDE GROUP"),
            Some("ties_") => self.text(" EXCLUDE TIES"),
            Some("no_others_") => self.text(" EXCLUDE NO OTHERS"),
            Some(_) => return Err(not_admitted("this clause of a window")),
        }
        self.text(")");
        Ok(())
    }

    fn frame_bound(&mut self, bound: &WindowFrameBound) -> Result<(), Refusal> {
        let (distance, word) = match bound {
            WindowFrameBound::CurrentRow => {
                self.text("CURRENT ROW");
                return Ok(());
            }
            WindowFrameBound::Preceding(distance) => (distance, " PRECEDING"),
            WindowFrameBound::Following(distance) => (distance, " FOLLOWING"),
        };
        match distance {
            None => self.text("UNBOUNDED"),
            Some(distance) => self.expression(distance)?,
        }
        self.text(word);
        Ok(())
    }

    pub(crate) fn date_time_field(&mut self, field: &DateTimeField) -> Result<(), Refusal> {
        let word = match field {
            DateTimeField::Year => "YEAR",
            DateTimeField::Month => "MONTH",
            DateTimeField::Week(None) => "WEEK",
            DateTimeField::Day => "DAY",
            DateTimeField::Hour => "HOUR",
            DateTimeField::Minute => "MINUTE",
            DateTimeField::Second => "SECOND",
            DateTimeField::Century => "CENTURY",
            DateTimeField::Decade => "DECADE",
            DateTimeField::Dow => "DOW",
            DateTimeField::Doy => "DOY",
            DateTimeField::Epoch => "EPOCH",
            DateTimeField::Isodow => "ISODOW",
            DateTimeField::Isoyear => "ISOYEAR",
            DateTimeField::Julian => "JULIAN",
            DateTimeField::Microsecond | DateTimeField::Microseconds => "MICROSECONDS",
            DateTimeField::Millenium | DateTimeField::Millennium => "MILLENNIUM",
            DateTimeField::Millisecond | DateTimeField::Milliseconds => "MILLISECONDS",
            DateTimeField::Quarter => "QUARTER",
            DateTimeField::Timezone => "TIMEZONE",
            DateTimeField::TimezoneHour => "TIMEZONE_HOUR",
            DateTimeField::TimezoneMinute => "TIMEZONE_MINUTE",
            _ => return Err(not_admitted("this part of a date")),
        };
        self.text(word);
        Ok(())
    }

    pub(crate) fn collation(&mut self, collation: &ObjectName) -> Result<(), Refusal> {
        let name = self.parts(collation)?.pop().unwrap_or_default();
        if self.dialect.is_postgres() {
            if !["C", "POSIX", "default", "ucs_basic", "en_US.utf8", "en_US", "und-x-icu", "en-x-icu"]
                .contains(&name.as_str())
            {
                return Err(not_admitted("this collation"));
            }
            self.text("pg_catalog.");
            self.name(&name);
            return Ok(());
        }
        let name = name.to_ascii_uppercase();
        if self.dialect.is_mysql() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.text(&name);
            return Ok(());
        }
        if !["BINARY", "NOCASE", "RTRIM"].contains(&name.as_str()) {
            return Err(not_admitted("this collation"));
        }
        self.text(&name);
        Ok(())
    }
}

/// The expressions among a call's arguments.
pub(crate) fn plain_arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let arguments = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    };
    arguments.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    })
}

/// Whether the arguments are all that the call computes.
pub(crate) fn is_plain_call(function: &Function) -> bool {
    let is_plain = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
        FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
            let is_expression = |argument: &FunctionArg| {
                matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_) | FunctionArgExpr::Wildcard))
            };
            clauses.is_empty() && args.iter().all(is_expression)
        }
    };
    is_plain && function.filter.is_none() && function.over.is_none() && function.within_group.is_empty()
}
