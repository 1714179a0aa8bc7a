//! What there is to ask for.

use ringfence_semantic::ModelView;
use ringfence_semantic::description::{ModelDescription, describe};

use crate::road::Road;
use crate::{Call, Gateway, Refused};

impl Gateway {
    /// The models that the caller sees.
    pub async fn describe_models(&self, call: &Call, key: &str) -> Result<Vec<ModelDescription>, Refused> {
        call.log().set_action("describe-models");
        let road = Road::open(self, call, key).await?;
        Ok(road.models().all().map(|model| road.description(model)).collect())
    }

    /// One of them.
    pub async fn describe_model(
        &self,
        call: &Call,
        key: &str,
        model: &str,
    ) -> Result<ModelDescription, Refused> {
        call.log().set_action("describe-model");
        let road = Road::open(self, call, key).await?;
        let model = road.models().named(model)?;
        call.log().set_model(model.name());
        Ok(road.description(model))
    }
}

impl Road<'_> {
    fn description(&self, model: ModelView<'_>) -> ModelDescription {
        let is_read_only = self.connection.spec.db_access_policy.read_only;
        describe(model, self.bounds(model), is_read_only)
    }
}
