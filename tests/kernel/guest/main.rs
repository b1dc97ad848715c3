//! What only a real kernel can show. Runs inside the virtual machine of `tests/kernel/run`, as root,
//! with the modules mtty, mdpy, mbochs and mdevtest loaded.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot be had fails the test"
)]
#![forbid(unsafe_code)]

mod dma;
mod doctor;
mod event_write;
mod hot_reset;
mod kvm;
mod life;
mod low_power;
mod machine;
mod migration;
mod pci_binding;
mod pci_bus;
mod pci_interrupts;
mod program;
mod refusals;
mod routes;
mod vf_token;
mod vfio_pci;
