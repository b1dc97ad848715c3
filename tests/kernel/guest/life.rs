//! Nothing stays open, and nothing hangs.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::machine::{self, Created};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn every_descriptor_and_mapping_is_gone_after_the_program() {
    for arguments in [vec!["show"], vec!["probe"]] {
        let sparse = Created::new("mdevtest", "mdevtest-sparse");
        let card = Created::new("mtty", "mtty-2");
        for created in [&sparse, &card] {
            let arguments = [arguments.as_slice(), &[&created.uuid]].concat();
            assert_eq!(machine::run(&arguments).status, 0);
        }
        sparse.remove_within(LIMIT);
        card.remove_within(LIMIT);
    }
}

#[test]
fn a_device_without_its_kernel_driver_is_reported_as_such() {
    let card = Created::new("mtty", "mtty-2");
    fs::write("/sys/bus/mdev/drivers/mtty/unbind", &card.uuid).unwrap();
    let listed = machine::json(&["list"]);
    let row = listed.as_array().unwrap().iter().find(|row| row["uuid"] == card.uuid).unwrap();
    for absent in ["iommu_group", "kernel_driver", "vfio_dev"] {
        assert_eq!(row[absent], json!(null), "{absent}");
    }
    let expected =
        format!("{} has no kernel driver bound to it: remove and create it again", card.uuid);
    assert_eq!(machine::complaint(&["show", &card.uuid]), expected);
    let probed = machine::run(&["probe", &card.uuid]);
    assert_eq!((probed.status, probed.stderr), (1, format!("mdevbus: {expected}\n")));
}

#[test]
fn group_numbers_that_are_given_again_lead_to_the_right_device() {
    for round in 0..10 {
        let first = Created::new("mtty", "mtty-1");
        let second = Created::new("mdevtest", "mdevtest-sparse");
        let (shown, other) =
            (machine::json(&["show", &first.uuid]), machine::json(&["show", &second.uuid]));
        assert_eq!(shown["pci"]["vendor"], 0x4348, "round {round}");
        assert_eq!(other["pci"]["vendor"], 0x6d64, "round {round}");
        // Removed in this order, the next round finds the numbers swapped.
        first.remove_within(LIMIT);
        second.remove_within(LIMIT);
    }
}
