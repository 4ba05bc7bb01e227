//! What the server offers, asked once.

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use larder::key::Algorithm;
use larder::tier::TierError;

use super::RemoteExecution;
use super::connection::{Lane, unexpected};

/// Of a server that states no limit a batch is no longer than this, so that it fits into a message.
const MAX_BATCH_BYTES: usize = 3 << 20;

/// On which terms a server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) algorithm: Algorithm,
    /// How many bytes may be sent or asked for in one batch.
    pub(super) batch_bytes: usize,
    /// Whether action results may be written.
    pub(super) updates: bool,
}

impl Terms {
    fn of(offered: &api::CacheCapabilities) -> Option<Self> {
        use api::digest_function::Value;
        let offers = |function: Value| offered.digest_functions.contains(&(function as i32));
        let algorithm = if offers(Value::Blake3) {
            Algorithm::Blake3
        } else if offers(Value::Sha256) {
            Algorithm::Sha256
        } else {
            return None;
        };
        let limit = usize::try_from(offered.max_batch_total_size_bytes).ok().filter(|&limit| limit > 0);
        let updates = offered.action_cache_update_capabilities.is_some_and(|updates| updates.update_enabled);
        let batch_bytes = limit.unwrap_or(MAX_BATCH_BYTES).min(MAX_BATCH_BYTES);
        Some(Self { algorithm, batch_bytes, updates })
    }

    /// The digest function's number on the wire.
    pub(super) fn function(self) -> i32 {
        use api::digest_function::Value;
        match self.algorithm {
            Algorithm::Blake3 => Value::Blake3 as i32,
            _ => Value::Sha256 as i32,
        }
    }

    /// What stands for some bytes on this server.
    pub(super) fn digest(self, bytes: &[u8]) -> api::Digest {
        api::Digest { hash: self.algorithm.digest(bytes).to_string(), size_bytes: bytes.len() as i64 }
    }
}

impl RemoteExecution {
    pub(super) async fn terms(&self) -> Result<Terms, TierError> {
        self.inner.terms.get_or_try_init(|| self.ask_terms()).await.copied()
    }

    pub(super) async fn ask_terms(&self) -> Result<Terms, TierError> {
        let asks = api::GetCapabilitiesRequest { instance_name: self.inner.instance.clone() };
        let ask = |wire| {
            let asks = asks.clone();
            async move {
                let mut client = api::capabilities_client::CapabilitiesClient::new(wire);
                Ok(client.get_capabilities(asks).await?.into_inner())
            }
        };
        let told = self.inner.connections.call(Lane::Small, "GetCapabilities", ask).await?;
        let offered = told.and_then(|told| told.cache_capabilities);
        let offered = offered.ok_or_else(|| unexpected("the server has no cache of that name"))?;
        let terms = Terms::of(&offered);
        let terms = terms.ok_or_else(|| unexpected("the server has neither BLAKE3 nor SHA-256"))?;
        if !terms.updates {
            self.only_reads();
        }
        Ok(terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(functions: &[api::digest_function::Value], limit: i64) -> api::CacheCapabilities {
        api::CacheCapabilities {
            digest_functions: functions.iter().map(|&function| function as i32).collect(),
            max_batch_total_size_bytes: limit,
            ..api::CacheCapabilities::default()
        }
    }

    #[test]
    fn blake3_is_taken_where_it_is_offered_and_a_server_with_neither_is_not_talked_to() {
        use api::digest_function::Value::{Blake3, Md5, Sha256};
        let algorithm = |functions: &[_]| Terms::of(&offered(functions, 0)).map(|terms| terms.algorithm);
        assert_eq!(algorithm(&[Md5, Sha256, Blake3]), Some(Algorithm::Blake3));
        assert_eq!(algorithm(&[Md5, Sha256]), Some(Algorithm::Sha256));
        assert_eq!(algorithm(&[Md5]), None);
    }

    #[test]
    fn a_batch_is_no_longer_than_the_server_says_and_than_a_message_may_be() {
        use api::digest_function::Value::Sha256;
        for (says, is) in
            [(0, MAX_BATCH_BYTES), (1000, 1000), (i64::MAX, MAX_BATCH_BYTES), (-1, MAX_BATCH_BYTES)]
        {
            assert_eq!(Terms::of(&offered(&[Sha256], says)).unwrap().batch_bytes, is);
        }
    }
}
