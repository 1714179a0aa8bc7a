//! The store's contract: one suite, run on both databases.

#[path = "store/world.rs"]
mod world;

#[path = "store/access_rules.rs"]
mod access_rules;
#[path = "store/annotations.rs"]
mod annotations;
#[path = "store/approvals.rs"]
mod approvals;
#[path = "store/arrivals.rs"]
mod arrivals;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/basic_credentials.rs"]
mod basic_credentials;
#[path = "store/connections.rs"]
mod connections;
#[path = "store/directory.rs"]
mod directory;
#[path = "store/history.rs"]
mod history;
#[path = "store/keys.rs"]
mod keys;
#[path = "store/likes.rs"]
mod likes;
#[path = "store/nodes.rs"]
mod nodes;
#[path = "store/outages.rs"]
mod outages;
#[path = "store/policies.rs"]
mod policies;
#[path = "store/repeats.rs"]
mod repeats;
#[path = "store/restrictions.rs"]
mod restrictions;
#[path = "store/sealing.rs"]
mod sealing;
#[path = "store/sessions.rs"]
mod sessions;
#[path = "store/settings.rs"]
mod settings;
#[path = "store/signing_keys.rs"]
mod signing_keys;
#[path = "store/sources.rs"]
mod sources;

/// Makes each case of the contract a test on `SQLite` and a test on `PostgreSQL`.
macro_rules! contract {
    ($($module:ident: $($case:ident),+;)+) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case(crate::world::World::sqlite()).await;
            })+)+
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case(crate::world::World::postgres().await).await;
            })+)+
        }
    };
}

contract! {
    directory: organizations_come_and_go, tenants_belong_to_organizations, users_belong_to_tenants,
        users_are_filtered_and_ordered, accounts_carry_all_variables, many_users_are_created_or_none,
        a_new_user_of_an_old_name_inherits_nothing, moving_leaves_the_old_organization_behind,
        odd_texts_come_back_as_they_were;
    approvals: tickets_are_sealed_and_come_back, steps_are_made_from_their_own_states, nobody_decides_too_late,
        a_ticket_runs_once, a_run_whose_node_died_is_not_repeated, each_finds_their_own_tickets;
    arrivals: a_user_arrives_and_is_linked, a_name_is_never_taken_over, a_link_is_made_only_where_it_may,
        a_tenant_is_made_only_where_it_may, what_the_source_takes_away_goes_and_the_rest_stays,
        what_was_said_earlier_changes_nothing, defaults_are_for_those_without, who_is_disabled_stays_out,
        roles_are_mapped_per_source;
    keys: access_keys_are_found_by_hash, access_keys_are_unique, deleted_keys_are_gone;
    repeats: a_repeat_is_begun_once, a_repeat_is_forgotten;
    basic_credentials: passwords_are_sealed_and_replaced, passwords_go_with_their_user,
        individual_roles_are_replaced_and_told;
    sessions: sessions_are_found_until_their_end, opening_ends_what_it_replaces, sessions_end_and_are_told;
    signing_keys: signing_keys_are_an_applications_own, signing_keys_go_and_are_told;
    settings: user_config_merges, parameters_fit_their_targets, parameters_go_with_their_target;
    connections: lists_keep_their_order, changes_are_all_or_nothing, sources_are_shared_within_an_organization,
        a_source_goes_with_its_last_connection, the_default_goes_with_its_connection, proofs_are_kept,
        filters_and_reindexing, concurrent_changes_keep_the_shared_source;
    sources: a_generation_passes, work_is_claimed_by_one_node, catalogs_are_kept, unfinished_work_is_found,
        many_sources_are_read_at_once;
    annotations: annotations_are_locked_optimistically, concurrent_annotations_have_one_winner;
    likes: likes_replace_and_go, publications_reach_their_targets, publications_never_cross_organizations,
        publications_end_with_their_target;
    policies: versions_are_added, policies_bind_one_place_of_one_organization, versions_are_never_changed,
        a_lost_version_is_not_an_open_place, a_removed_policy_leaves_its_history, concurrent_versions_have_one_winner,
        policies_go_with_their_organization_and_are_told, mask_keys_are_stable_and_differ;
    restrictions: restrictions_come_back_and_go, restrictions_have_one_writer_and_one_place;
    access_rules: rules_come_back_and_go, rules_are_kept_all_or_none, rules_bind_one_place,
        rules_go_with_whom_they_are_for;
    history: history_pages, history_of_the_gone_is_dropped, history_of_one_account_is_kept_apart;
    audit: records_come_back, records_are_filtered, an_untouched_chain_is_intact, every_tampering_shows,
        a_tampered_head_takes_no_more_records, nodes_append_to_one_chain, the_log_is_append_only,
        long_chains_are_walked_in_pages, old_records_are_pruned, pruning_goes_in_batches_beside_others,
        what_was_tampered_with_is_not_pruned, cursors_are_for_one_reader;
    sealing: secrets_are_not_in_the_database, a_wrong_key_is_told, rotation_reaches_every_sealed_value,
        a_sealed_value_opens_in_no_other_row, sealing_under_a_stale_key_is_refused,
        a_rotation_cut_short_anywhere_is_ended, key_files_are_made_and_guarded;
    nodes: nodes_that_start_at_once_agree, a_newer_schema_is_refused, changes_are_told_here,
        changes_are_told_to_other_nodes, an_abandoned_call_leaves_nothing_half_done, futures_can_be_sent;
}
