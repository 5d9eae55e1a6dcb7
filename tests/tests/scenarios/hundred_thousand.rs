//! The whole way there and back on 100,000 rows, hostile ones among them.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

fn every_row_there_and_back_by_both_ways(store: Store) {
    let deployment = Deployment::v1().rows(100_000).on(store);
    assert!(
        deployment.source.len() > 100_000,
        "the hostile rows are extra"
    );
    let before = deployment.snapshot();
    for way in ["reverse", "restore"] {
        deployment.migrate().expect(0);
        deployment.must_be_v2();
        deployment.rollback(way).expect(0);
        before.must_equal(&deployment.snapshot(), way);
    }
}

on_both!(every_row_there_and_back_by_both_ways);
