//! A port in the data of a migration.

use super::{FIFO_SIZE, Port};

/// Bytes of a port in the data of a migration: `struct serial_port` of the kernel driver.
pub(in super::super) const SAVED: usize = 36;

impl Port {
    /// The port as the kernel driver has it in its memory, and so in the data of a migration.
    pub(in super::super) fn save(&self) -> [u8; SAVED] {
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let mut saved = [0; SAVED];
        let registers = [
            0,
            self.interrupt_enable,
            0,
            self.line_control,
            self.modem_control,
            0,
            0,
            self.scratch,
        ];
        let [low, high] = self.divisor.to_ne_bytes();
        let rest = [
            byte(self.head),
            byte(self.tail),
            byte(self.count),
            u8::from(self.latch()),
            u8::from(self.overrun),
            0,
            low,
            high,
            self.fifo_control,
            byte(self.limit),
            byte(self.trigger),
            0,
        ];
        let all = registers.into_iter().chain(self.fifo).chain(rest);
        saved.iter_mut().zip(all).for_each(|(saved, byte)| *saved = byte);
        saved
    }

    /// The port from the data of a migration. Like the kernel driver, it takes what it is given.
    pub(in super::super) fn restore(saved: &[u8; SAVED]) -> Self {
        let [_, interrupt_enable, _, line_control, modem_control, _, _, scratch, rest @ ..] = saved;
        let (fifo, rest) = rest.split_first_chunk::<FIFO_SIZE>().unwrap_or((&[0; FIFO_SIZE], &[]));
        let mut port = Self {
            fifo: *fifo,
            interrupt_enable: *interrupt_enable,
            line_control: *line_control,
            modem_control: *modem_control,
            scratch: *scratch,
            ..Self::new()
        };
        if let [head, tail, count, _, overrun, _, low, high, fifo_control, limit, trigger, _] = rest
        {
            (port.head, port.tail) = (usize::from(*head), usize::from(*tail));
            (port.count, port.limit) = (usize::from(*count), usize::from(*limit));
            port.trigger = usize::from(*trigger);
            port.overrun = *overrun != 0;
            port.divisor = u16::from_ne_bytes([*low, *high]);
            port.fifo_control = *fifo_control;
        }
        port
    }
}
