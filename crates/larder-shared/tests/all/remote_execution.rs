//! A remote execution cache: the suites, as far as they can hold there, and what it promises beyond them.

use larder::testing as suite;
use larder_shared::open;
use larder_shared::testing::CasdServer;

use crate::lab::options;

/// Those parts of the suites that hold. The others are, with the reason:
///
/// - `an_invalidation_removes_what_its_selector_matches_and_nothing_else`: the protocol has no list and no delete, so
///   an invalidation removes everything, and no one can tell which keys that was.
/// - `what_began_before_an_invalidation_is_refused_and_what_began_after_is_kept`: what began before is refused, also
///   what the selector does not cover.
/// - `invalidations_are_told_in_order_to_whoever_asks`: only that there was one is told.
/// - `a_lease_has_one_holder_at_a_time_and_ends_with_it`: nothing can be taken by one of two who want it.
#[tokio::test]
async fn a_remote_execution_cache_passes_what_can_hold_there_of_the_suites_of_all_tiers() {
    let server = CasdServer::start();
    let tier = &*open(&server.url(), options()).unwrap();
    suite::what_is_put_comes_back_byte_for_byte(tier).await;
    suite::what_was_never_put_is_a_miss(tier).await;
    suite::a_later_put_replaces_an_earlier_one(tier).await;
    suite::each_part_of_a_key_tells_entries_apart(tier).await;
    suite::an_epoch_that_the_tier_never_reached_means_that_anything_may_have_been_invalidated(tier).await;
    suite::an_entry_in_quarantine_is_a_miss_and_no_invalidation(tier).await;
    suite::callers_side_by_side_see_whole_entries(tier).await;
    suite::a_tier_that_is_well_answers_a_ping_and_flushes(tier).await;
    suite::check_blobs(tier).await;
}
