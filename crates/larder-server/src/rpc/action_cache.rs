//! Results of actions.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_server::ActionCache;
use tonic::{Request, Response, Status, async_trait};

use super::{Rpc, content_id, failed, function};
use crate::guard::Role;

#[async_trait]
impl ActionCache for Rpc {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        let asked = request.get_ref();
        let (scope, _) = self.scope(&asked.instance_name, &request, Role::Read)?;
        let (action, _) = content_id(function(asked.digest_function)?, asked.action_digest.as_ref())?;
        match self.store.result(&scope, action).await.map_err(failed)? {
            Some(result) => Ok(Response::new(result)),
            None => Err(Status::not_found("no result of this action is kept whole")),
        }
    }

    async fn update_action_result(
        &self,
        request: Request<reapi::UpdateActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        let asked = request.get_ref();
        let (scope, identity) = self.scope(&asked.instance_name, &request, Role::Write)?;
        let (action, _) = content_id(function(asked.digest_function)?, asked.action_digest.as_ref())?;
        let Some(result) = request.into_inner().action_result else {
            return Err(Status::invalid_argument("the action's result is missing"));
        };
        self.store.keep_result(&scope, action, &result, identity.name()).await.map_err(failed)?;
        Ok(Response::new(result))
    }
}
