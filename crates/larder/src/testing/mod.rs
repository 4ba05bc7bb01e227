//! What tests of tiers and of engines over tiers share: the suite that each tier passes, and a tier that fails on
//! demand.

mod blobs;
mod conformance;
mod faulty;

pub use blobs::{
    a_blob_comes_back_byte_for_byte_in_the_form_in_which_it_came,
    a_blob_in_quarantine_is_missing_and_can_be_put_again, a_blob_that_is_cut_or_given_up_is_not_there,
    a_blob_that_never_came_is_missing, an_entry_is_kept_only_with_the_blobs_that_it_names, check_blobs,
};
pub use conformance::{
    a_later_put_replaces_an_earlier_one, a_lease_has_one_holder_at_a_time_and_ends_with_it,
    a_tier_that_is_well_answers_a_ping_and_flushes, an_entry_in_quarantine_is_a_miss_and_no_invalidation,
    an_epoch_that_the_tier_never_reached_means_that_anything_may_have_been_invalidated,
    an_invalidation_removes_what_its_selector_matches_and_nothing_else,
    callers_side_by_side_see_whole_entries, check_leases, check_tier, each_part_of_a_key_tells_entries_apart,
    invalidations_are_told_in_order_to_whoever_asks, key, sealed,
    what_began_before_an_invalidation_is_refused_and_what_began_after_is_kept,
    what_is_put_comes_back_byte_for_byte, what_is_to_be_new_is_stored_where_nothing_is_and_nowhere_else,
    what_was_never_put_is_a_miss,
};
pub use faulty::{Fault, Faulty};
