//! On software devices: what a newcomer tries.

use serde_json::json;

use crate::{json, run};

const CARD: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

fn uuid_of(mdev_type: &str) -> String {
    let rows = json(&["--sim", "list"]);
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows.find(|row| row["mdev_type"] == mdev_type).unwrap();
    row["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn probe_binds_the_serial_cards_and_tells_of_their_self_test() {
    let probed = json(&["--sim", "probe"]);
    assert_eq!((&probed["bound"], &probed["failed"]), (&json!(2), &json!(0)));
    let devices = probed["devices"].as_array().unwrap();
    let card = devices.iter().find(|row| row["uuid"] == CARD).unwrap();
    assert_eq!(
        *card,
        json!({
            "uuid": CARD, "outcome": "bound", "driver": "mtty", "error": null,
            "detail": "looped 15 bytes through 2 ports, scratch and line status are right",
        })
    );
    assert_eq!(devices.iter().filter(|row| row["outcome"] == "no-driver").count(), 2);

    let text = run(&["--sim", "probe"]);
    assert_eq!((text.status, text.stderr.as_str()), (0, ""));
    assert!(text.stdout.contains("2 bound, 0 failed, 2 left alone"), "{}", text.stdout);
    assert!(text.stdout.contains("looped 15 bytes through 1 port,"), "{}", text.stdout);
}

#[test]
fn probe_takes_the_devices_to_probe() {
    let probed = json(&["--sim", "probe", &CARD.to_uppercase()]);
    assert_eq!(probed["devices"].as_array().unwrap().len(), 1);
    assert_eq!(probed["devices"][0]["outcome"], "bound");
}

#[test]
fn list_has_a_row_a_device_with_the_fields_that_are_promised() {
    let rows = json(&["--sim", "list"]);
    let fields = [
        "uuid",
        "parent",
        "mdev_type",
        "name",
        "device_api",
        "iommu_group",
        "vfio_dev",
        "numa_node",
        "kernel_driver",
        "driver",
    ];
    for row in rows.as_array().unwrap() {
        let found: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(row["iommu_group"].is_u64());
    }
    let card = rows.as_array().unwrap().iter().find(|row| row["uuid"] == CARD).unwrap();
    assert_eq!((&card["parent"], &card["mdev_type"]), (&json!("mtty"), &json!("mtty-2")));
    assert_eq!((&card["name"], &card["driver"]), (&json!("Dual port serial"), &json!("mtty")));
}

#[test]
fn types_and_drivers_say_what_there_is() {
    let types = json(&["--sim", "types"]);
    let dual = types.as_array().unwrap().iter().find(|row| row["mdev_type"] == "mtty-2").unwrap();
    // 24 ports, three of them taken.
    assert_eq!(dual["available_instances"], 10);
    assert_eq!(dual["device_api"], "vfio-pci");
    let drivers = json(&["drivers"]);
    assert_eq!(
        drivers,
        json!([
            {"name": "edu", "bus": "pci", "ids": ["pci=1234:11e8"]},
            {"name": "ivshmem", "bus": "pci", "ids": ["pci=1af4:1110"]},
            {"name": "mtty", "bus": "mdev", "ids": ["type=mtty-1", "type=mtty-2"]},
        ])
    );
}

#[test]
fn show_tells_what_a_device_is_made_of() {
    let shown = json(&["--sim", "show", &uuid_of("mdevtest-sparse")]);
    assert_eq!(shown["flags"], json!(["reset", "pci"]));
    assert_eq!(shown["pci"]["class"], 0x08_8000);
    let indices: Vec<_> = shown["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| region["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 7, 9]);
    let bar0 = &shown["regions"][0];
    assert_eq!((&bar0["name"], &bar0["size"]), (&json!("bar0"), &json!(0x8000)));
    assert_eq!(bar0["mapped"].as_array().unwrap().len(), 3);
    assert_eq!(shown["regions"][3]["sparse"], json!([]));
    assert_eq!(shown["irqs"][0]["name"], "msix");

    let platform = json(&["--sim", "show", &uuid_of("mdevtest-platform")]);
    assert_eq!(platform["pci"], json!(null));
    assert_eq!(platform["regions"][0]["name"], "region0");

    let text = run(&["--sim", "show", CARD]);
    assert!(text.stdout.contains("PCI 4348:3253, subsystem 4348:3253, class 070002"));
}

#[test]
fn peek_reads_in_the_width_and_on_the_way_asked_for() {
    let sparse = uuid_of("mdevtest-sparse");
    let peek = |arguments: &[&str]| run(&[&["--sim", "peek", &sparse], arguments].concat());
    assert_eq!(peek(&["0", "0"]).stdout, "0x73706172\n");
    assert_eq!(peek(&["0", "0", "--width", "2"]).stdout, "0x6172\n");
    assert_eq!(peek(&["7", "0", "--width", "8"]).stdout, "0x0010000073706d64\n");
    assert_eq!(
        peek(&["9", "0x0", "--count", "2", "--via", "mapped"]).stdout,
        "0x00000000: 5a5a5a5a 5a5a5a5b\n"
    );
    let refused = peek(&["0", "0", "--via", "mapped"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("not wholly mapped"), "{}", refused.stderr);
    let value = json(&["--sim", "peek", &sparse, "0", "0x1000"]);
    assert_eq!((&value["via"], &value["values"]), (&json!("mapped"), &json!(["0x00000000"])));
}

#[test]
fn poke_is_silent_or_says_what_it_did() {
    let sparse = uuid_of("mdevtest-sparse");
    let silent = run(&["--sim", "poke", &sparse, "1", "16", "0xffffffff"]);
    assert_eq!((silent.status, silent.stdout.as_str(), silent.stderr.as_str()), (0, "", ""));
    let told = json(&["--sim", "poke", &sparse, "1", "0x8", "255", "--width", "1"]);
    assert_eq!((&told["via"], &told["value"]), (&json!("mapped"), &json!("0xff")));
}

#[test]
fn the_log_goes_to_standard_error_only_when_asked_for() {
    let quiet = run(&["--sim", "list"]);
    assert_eq!(quiet.stderr, "");
    let loud = run(&["--sim", "-vv", "probe"]);
    assert!(loud.stderr.contains("bound"), "{}", loud.stderr);
    assert_eq!(loud.status, 0);
}
