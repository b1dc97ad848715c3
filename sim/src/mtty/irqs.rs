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
