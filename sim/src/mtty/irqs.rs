//! `VFIO_DEVICE_SET_IRQS` of the serial card.

use std::io;

use rustix::io::Errno;
use vfio_common::device::{IrqAction, IrqData, IrqInfo, IrqRequest};

use super::{INTX, IRQS, MSI};
use crate::errno::failed;
use crate::model::{Board, check_range, named};

/// `irq` is the interrupt of the request, `None` when the card does not have it; `irqs` how many
/// indices the kernel driver counts, which it takes for the number of vectors of each.
///
/// What comes while INTx is masked is lost.
pub(super) fn set(
    board: &Board,
    irq: Option<IrqInfo>,
    irqs: u32,
    request: &IrqRequest<'_>,
) -> io::Result<u32> {
    if request.index >= IRQS {
        return Err(failed(Errno::INVAL));
    }
    check_range(request, irqs)?;
    let irq = irq.ok_or(failed(Errno::NOTTY))?;
    match request.action {
        IrqAction::Trigger => trigger(board, irq, request),
        _ if irq.index == MSI => Err(failed(Errno::NOTTY)),
        action => mask(board, action, request),
    }?;
    Ok(0)
}

fn mask(board: &Board, action: IrqAction, request: &IrqRequest<'_>) -> io::Result<()> {
    if !board.is_on(INTX) || !is_first(request) {
        return Err(failed(Errno::INVAL));
    }
    if matches!(request.data, IrqData::EventFds(_)) {
        return Err(failed(Errno::NOTTY));
    }
    if named(request).next().is_some() {
        match action {
            IrqAction::Mask => board.mask(INTX),
            _ => drop(board.unmask(INTX)),
        }
    }
    Ok(())
}

fn trigger(board: &Board, irq: IrqInfo, request: &IrqRequest<'_>) -> io::Result<()> {
    let on = board.is_on(irq.index);
    if on && matches!(request.data, IrqData::None { count: 0 }) {
        board.disable(irq.index);
        return Ok(());
    }
    let other = if irq.index == INTX { MSI } else { INTX };
    if board.is_on(other) || !is_first(request) {
        return Err(failed(Errno::INVAL));
    }
    match request.data {
        IrqData::EventFds(eventfds) => {
            board.disable(irq.index);
            if eventfds.iter().any(Option::is_some) {
                board.enable(irq, 0, eventfds)?;
            }
            Ok(())
        }
        _ if !on => Err(failed(Errno::INVAL)),
        _ => {
            named(request).for_each(|vector| board.fire(irq.index, vector));
            Ok(())
        }
    }
}

fn is_first(request: &IrqRequest<'_>) -> bool {
    request.start == 0 && request.data.count() == 1
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::event::{EventfdFlags, eventfd};
    use vfio_common::device::Backend as _;

    use super::super::Mtty;
    use super::*;
    use crate::SoftDevice;

    const NOTHING: IrqData<'_> = IrqData::None { count: 0 };
    const ONE: IrqData<'_> = IrqData::None { count: 1 };

    fn card() -> SoftDevice {
        let card = SoftDevice::new(Mtty::single_port()).unwrap();
        card.device_info().unwrap();
        card
    }

    /// The error number, 0 if there is none.
    fn set(card: &SoftDevice, index: u32, action: IrqAction, start: u32, data: IrqData<'_>) -> i32 {
        match card.set_irqs(&IrqRequest { index, start, action, data }) {
            Ok(granted) => i32::try_from(granted).unwrap(),
            Err(error) => error.raw_os_error().unwrap(),
        }
    }

    #[test]
    fn requests_are_answered_as_by_the_kernel() {
        use IrqAction::{Mask, Trigger, Unmask};
        let (ok, invalid, none) = (0, Errno::INVAL.raw_os_error(), Errno::NOTTY.raw_os_error());
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let (on, off) = ([Some(fd.as_fd())], [None]);
        let (on, off) = (IrqData::EventFds(&on), IrqData::EventFds(&off));

        let unasked = SoftDevice::new(Mtty::single_port()).unwrap();
        assert_eq!(set(&unasked, INTX, Trigger, 0, on), invalid, "before GET_INFO");

        let card = card();
        for (index, action, start, data, expected) in [
            (5, Trigger, 0, on, invalid),
            (2, Trigger, 0, on, none),
            (4, Trigger, 0, on, none),
            // It counts vectors against the number of interrupts, and then wants the first only.
            (2, Trigger, 4, on, none),
            (2, Trigger, 5, on, invalid),
            (INTX, Trigger, 1, on, invalid),
            (INTX, Trigger, 0, NOTHING, invalid),
            (INTX, Trigger, 0, ONE, invalid),
            (INTX, Mask, 0, ONE, invalid),
            (MSI, Mask, 0, ONE, none),
            (INTX, Trigger, 0, on, ok),
            (MSI, Trigger, 0, on, invalid),
            (MSI, Trigger, 0, NOTHING, invalid),
            (INTX, Unmask, 0, on, none),
            (INTX, Unmask, 0, IrqData::Bool(&[false]), ok),
            (INTX, Mask, 0, IrqData::Bool(&[true]), ok),
            (INTX, Mask, 0, IrqData::None { count: 2 }, invalid),
            (INTX, Trigger, 0, on, ok),
            (INTX, Trigger, 0, off, ok),
            (MSI, Trigger, 0, on, ok),
            (MSI, Trigger, 0, ONE, ok),
            (MSI, Trigger, 0, NOTHING, ok),
            (MSI, Trigger, 0, NOTHING, invalid),
        ] {
            let found = set(&card, index, action, start, data);
            assert_eq!(found, expected, "{index} {action:?} {start} {data:?}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        let bad = [Some(file.as_fd())];
        assert_eq!(set(&card, MSI, Trigger, 0, IrqData::EventFds(&bad)), invalid);
        assert_eq!(set(&card, INTX, Trigger, 0, on), ok, "a bad eventfd leaves nothing on");
    }
}
