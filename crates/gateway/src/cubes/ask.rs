//! What callers see of cubes, and ask of them.

use std::sync::Arc;
use std::time::Duration;

use ringfence_engine::{ResultSet, Value};
use ringfence_policy::{Permission, RelationName};
use ringfence_semantic::Refusal;
use ringfence_semantic::cube::compile::{Compiled, CubeBounds, LevelColumn, MeasureColumn, compile};
use ringfence_semantic::cube::{CubeDescription, CubeQuery, CubeView};

use super::unguarded;
use crate::answers::{Answer, Keeping};
use crate::models::inputs;
use crate::policies::CubeHere;
use crate::road::Road;
use crate::{Call, Code, Freshness, Gateway, Refused};

/// Measures at levels.
#[derive(Debug, Clone)]
pub struct CubeAnswer {
    /// The first columns of each row.
    pub levels: Vec<LevelColumn>,
    /// The columns behind them.
    pub measures: Vec<MeasureColumn>,
    /// As the source gave them, for whoever asks for the same: the last column is the grouping.
    result: Arc<ResultSet>,
    /// Rows that are this answer's.
    taken: usize,
    /// Whether totals were asked for.
    pub has_totals: bool,
    /// Whether there are more rows than the limit.
    pub has_more: bool,
    /// How old the rows are, when they were kept.
    pub age: Option<Duration>,
}

/// A row of an answer.
#[derive(Debug, Clone, Copy)]
pub struct CubeRow<'a> {
    /// Members, then values.
    pub values: &'a [Value],
    /// By how many levels it is grouped; fewer than all of them makes a total.
    pub grouping: usize,
}

impl CubeAnswer {
    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = CubeRow<'_>> {
        self.result.rows.iter().take(self.taken).map(|row| match row.split_last() {
            Some((Value::Integer(depth), values)) => {
                CubeRow { values, grouping: usize::try_from(*depth).unwrap_or_default() }
            }
            _ => CubeRow { values: row, grouping: 0 },
        })
    }

    /// Each row with its grouping as the last value.
    pub fn rows_with_grouping(&self) -> impl ExactSizeIterator<Item = &[Value]> {
        self.result.rows.iter().take(self.taken).map(Vec::as_slice)
    }
}

impl Gateway {
    /// The cubes that the caller sees, by name.
    pub async fn describe_cubes(&self, call: &Call, key: &str) -> Result<Vec<CubeDescription>, Refused> {
        call.log().set_action("describe-cubes");
        let road = self.road_to_cubes(call, key).await?;
        Ok(road.visible_cubes().map(|cube| cube.describe()).collect())
    }

    /// One of them.
    pub async fn describe_cube(
        &self,
        call: &Call,
        key: &str,
        name: &str,
    ) -> Result<CubeDescription, Refused> {
        call.log().set_action("describe-cube");
        call.log().set_object(name);
        let road = self.road_to_cubes(call, key).await?;
        Ok(road.cube(name)?.describe())
    }

    /// Measures of a cube, over the facts that the caller sees.
    pub async fn query_cube(
        &self,
        call: &Call,
        key: &str,
        name: &str,
        query: &CubeQuery,
        freshness: Freshness,
    ) -> Result<CubeAnswer, Refused> {
        call.log().set_action("query-cube");
        call.log().set_object(name);
        let road = self.road_to_cubes(call, key).await?;
        let cube = road.cube(name)?;
        inputs::note(call.log(), query);
        let compiled = compile(&cube, query, road.cube_bounds(&cube))?;
        let ready = road.guard(&road.seat, &compiled.statement, None).await?;
        let keeping = Keeping { what: "cube", time: Some(road.cube_time(name)), freshness };
        let answer = answer_of(compiled, query, road.answer(&ready, keeping).await?)?;
        call.log().set_rows(answer.taken as u64);
        Ok(answer)
    }

    async fn road_to_cubes<'c>(&'c self, call: &'c Call, key: &str) -> Result<Road<'c>, Refused> {
        call.needs(Permission::ReadDatabases)?;
        let permit = self.enter(call).await?;
        let connection = self.connection_to_query(call, key).await?;
        Road::to(self, call, connection, permit, unguarded).await
    }
}

impl Road<'_> {
    /// The cubes whose facts the caller sees.
    fn visible_cubes(&self) -> impl Iterator<Item = CubeView<'_>> {
        let whole = self.snapshot.cubes.iter().filter_map(|here| here.cube.as_ref());
        whole.filter_map(|cube| CubeView::of(cube, &self.seat.shape.view).ok().flatten())
    }

    /// The cube of that name.
    //
    // INVARIANT: a hidden cube is answered like one that is not there. Held by the test `a_hidden_cube_is_a_missing_one`.
    fn cube(&self, name: &str) -> Result<CubeView<'_>, Refused> {
        let view = &self.seat.shape.view;
        let missing = || Refusal::no_cube(name, self.visible_cubes().map(|cube| cube.name().to_owned()));
        let here = self.snapshot.cubes.iter().find(|here| here.name == name);
        let Some(CubeHere { facts, cube, .. }) = here else { return Err(missing().into()) };
        let Some(cube) = cube else {
            let facts = facts
                .as_ref()
                .filter(|facts| view.relations.contains_key(facts) || view.unresolved.contains_key(facts));
            return Err(match facts.map(|facts| view.unresolved.get(facts)) {
                Some(Some(denial)) => Refusal::Denied(denial.clone()).into(),
                Some(None) => unusable(),
                None => missing().into(),
            });
        };
        let seen = CubeView::of(cube, view).map_err(Refusal::Denied)?;
        seen.ok_or_else(|| missing().into())
    }

    /// How long an answer of the cube counts.
    fn cube_time(&self, name: &str) -> Duration {
        let here = self.snapshot.cubes.iter().find(|here| here.name == name);
        let own = here.and_then(|here| here.cache);
        own.unwrap_or(self.gateway.shared.config.answers.cube_time)
    }

    /// What holds for a query of the cube, whatever of it is asked for.
    fn cube_bounds(&self, cube: &CubeView<'_>) -> CubeBounds {
        let config = &self.gateway.shared.config;
        let relations: Vec<RelationName> = cube.relations().cloned().collect();
        let limits = self.snapshot.policy.policy.limits(&relations, self.call.principal());
        CubeBounds {
            max_rows: limits.max_rows().map_or(config.max_rows, |limit| limit.value.min(config.max_rows)),
            max_fields: limits.max_fields().map(|limit| limit.value),
        }
    }
}

fn unusable() -> Refused {
    Refused::new(
        Code::CubeUnusable,
        "the database changed, and the cube fits it no more: an administrator has to put it again",
    )
}

fn answer_of(compiled: Compiled, query: &CubeQuery, answer: Answer) -> Result<CubeAnswer, Refused> {
    let Compiled { levels, measures, take, .. } = compiled;
    let Answer { result, age } = answer;
    let has_more = result.rows.len() as u64 > take;
    // A total that misses rows nobody asked to leave out would be a wrong one.
    if has_more && query.limit.is_none() {
        return Err(Refused::new(
            Code::BudgetExceeded,
            format!(
                "the answer has more than {take} rows (max_rows): ask for fewer levels, or give a `limit`"
            ),
        ));
    }
    let taken = usize::try_from(take).unwrap_or(usize::MAX).min(result.rows.len());
    let is_grouped = |row: &Vec<Value>| matches!(row.last(), Some(Value::Integer(depth)) if *depth >= 0);
    if !result.rows.iter().take(taken).all(is_grouped) {
        return Err(Refused::internal(&"a row of a cube without its grouping"));
    }
    let has_totals = query.include_totals;
    Ok(CubeAnswer { levels, measures, result, taken, has_totals, has_more, age })
}
