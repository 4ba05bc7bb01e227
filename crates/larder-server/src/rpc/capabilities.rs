//! What the server can do.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::remote::execution::v2::capabilities_server::Capabilities;
use bazel_remote_apis::build::bazel::semver::SemVer;
use reapi::symlink_absolute_path_strategy::Value as Symlinks;
use reapi::{compressor, digest_function};
use tonic::{Request, Response, Status, async_trait};

use super::{MAX_BATCH_BYTES, Rpc};
use crate::guard::Deed;

#[async_trait]
impl Capabilities for Rpc {
    async fn get_capabilities(
        &self,
        request: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        let asker = self.asker(&request.get_ref().instance_name, &request, Deed::Read)?;
        let zstd = vec![compressor::Value::Zstd as i32];
        let cache = reapi::CacheCapabilities {
            digest_functions: vec![
                digest_function::Value::Sha256 as i32,
                digest_function::Value::Blake3 as i32,
            ],
            action_cache_update_capabilities: Some(reapi::ActionCacheUpdateCapabilities {
                update_enabled: asker.rules.allow(&asker.identity, Deed::WriteResult, &asker.scope).is_ok(),
            }),
            max_batch_total_size_bytes: MAX_BATCH_BYTES as i64,
            max_cas_blob_size_bytes: i64::try_from(self.store.largest_bytes()).unwrap_or(0),
            symlink_absolute_path_strategy: Symlinks::Allowed as i32,
            supported_compressors: zstd.clone(),
            supported_batch_update_compressors: zstd,
            ..reapi::CacheCapabilities::default()
        };
        let version = |major, minor| Some(SemVer { major, minor, ..SemVer::default() });
        Ok(Response::new(reapi::ServerCapabilities {
            cache_capabilities: Some(cache),
            low_api_version: version(2, 0),
            high_api_version: version(2, 11),
            ..reapi::ServerCapabilities::default()
        }))
    }
}
