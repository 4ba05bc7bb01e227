//! Results of actions.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_server::ActionCache;
use bytes::Bytes;
use prost::Message as _;
use tonic::{Request, Response, Status, async_trait};

use super::{Rpc, content_id, failed, function, gave, wrote};
use crate::guard::Deed;

#[async_trait]
impl ActionCache for Rpc {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        let asked = request.get_ref();
        let asker = self.asker(&asked.instance_name, &request, Deed::Read)?;
        let (action, _) = content_id(function(asked.digest_function)?, asked.action_digest.as_ref())?;
        let mut asking = asker.ask(|| format!("ac/{action}"));
        let result = loop {
            let found = self.store.result(&asker.scope, action).await;
            if !asking.again(!matches!(found, Ok(None))).await {
                break found;
            }
        };
        asker.tell(Deed::Read, format_args!("ac/{action}"), None, gave(&result));
        match result.map_err(failed)? {
            Some(result) => Ok(Response::new(result)),
            None => Err(Status::not_found("no result of this action is kept whole")),
        }
    }

    async fn update_action_result(
        &self,
        request: Request<reapi::UpdateActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        let asked = request.get_ref();
        let asker = self.asker(&asked.instance_name, &request, Deed::WriteResult)?;
        let (action, _) = content_id(function(asked.digest_function)?, asked.action_digest.as_ref())?;
        let Some(result) = request.into_inner().action_result else {
            return Err(Status::invalid_argument("the action's result is missing"));
        };
        let message = Bytes::from(result.encode_to_vec());
        let bytes = message.len() as u64;
        let kept = self.store.keep_result(&asker.scope, action, (&result, message), asker.made()).await;
        asker.tell(Deed::WriteResult, format_args!("ac/{action}"), Some(bytes), wrote(&kept));
        kept.map_err(failed)?;
        asker.has_put(format_args!("ac/{action}"));
        Ok(Response::new(result))
    }
}
