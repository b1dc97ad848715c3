//! What only a real kernel can show. Runs inside the virtual machines of `tests/kernel/run`, as root,
//! with the modules mtty, mdpy, mbochs and mdevtest loaded where nothing else is said.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot be had fails the test"
)]
// One module maps memory that is not there.
#![deny(unsafe_code)]

mod machine;
mod pci_function;
mod vfio_pci;

// On the machine `default`.
mod bogus_memory;
mod dma;
mod dma_limits;
mod doctor;
mod driver_faults;
mod event_write;
mod hot_reset;
mod kvm;
mod life;
mod low_power;
mod mediated_dma;
mod migration;
mod nodes;
mod pci_binding;
mod pci_bus;
mod pci_interrupts;
mod pci_refusals;
mod pci_regions;
mod program;
mod refusals;
mod routes;
mod vf_token;

// On a machine that names them in `tests/kernel/lib/machines.sh`.
mod iommu_off;
mod network_card;
mod no_mdev;
mod no_remapping;
