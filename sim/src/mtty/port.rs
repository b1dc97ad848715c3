//! One port: a 16550 whose transmitter feeds its own receiver, with the habits of the kernel driver.

mod saved;

pub(super) use self::saved::SAVED;

/// Bytes that the FIFO holds.
const FIFO_SIZE: usize = 16;

/// Registers by offset; some are two, one for reads and one for writes.
mod register {
    pub(super) const DATA: u64 = 0;
    pub(super) const INTERRUPT_ENABLE: u64 = 1;
    pub(super) const INTERRUPT_IDENTIFICATION: u64 = 2;
    pub(super) const FIFO_CONTROL: u64 = 2;
    pub(super) const LINE_CONTROL: u64 = 3;
    pub(super) const MODEM_CONTROL: u64 = 4;
    pub(super) const LINE_STATUS: u64 = 5;
    pub(super) const MODEM_STATUS: u64 = 6;
    pub(super) const SCRATCH: u64 = 7;
}

/// Interrupt enable register.
mod enable {
    pub(super) const RECEIVED: u8 = 1 << 0;
    pub(super) const TRANSMITTER_EMPTY: u8 = 1 << 1;
    pub(super) const LINE_STATUS: u8 = 1 << 2;
    pub(super) const MODEM_STATUS: u8 = 1 << 3;
}

/// Interrupt identification register.
mod pending {
    pub(super) const NONE: u8 = 0x01;
    pub(super) const TRANSMITTER_EMPTY: u8 = 0x02;
    pub(super) const RECEIVED: u8 = 0x04;
    pub(super) const LINE_STATUS: u8 = 0x06;
    pub(super) const FIFOS_ON: u8 = 0xc0;
}

/// FIFO control register.
const FIFO_ENABLE: u8 = 1 << 0;
const FIFO_CLEAR: u8 = 0x06;
/// Line control register: offsets 0 and 1 are the divisor.
const DIVISOR_LATCH: u8 = 1 << 7;
/// Modem control register: CTS follows the FIFO.
const AUTO_FLOW_CONTROL: u8 = 1 << 5;
/// The same: data terminal ready or request to send; the second output.
const MODEM_LINES: u8 = 0x03;
const SECOND_OUTPUT: u8 = 1 << 3;
/// Line status register.
const DATA_READY: u8 = 1 << 0;
const OVERRUN: u8 = 1 << 1;
const TRANSMITTER_EMPTY: u8 = 0x60;
/// Modem status register: data set ready and changed, carrier detect; clear to send and changed.
const READY: u8 = 0xa2;
const CLEAR_TO_SEND: u8 = 0x11;

/// The state of a port. What the kernel driver counts and compares, it counts and compares, also
/// where a 16550 would not: a full FIFO looks empty, for both ends of it are at the same place then.
#[derive(Debug)]
pub(super) struct Port {
    fifo: [u8; FIFO_SIZE],
    head: usize,
    tail: usize,
    count: usize,
    /// Bytes that the FIFO takes: 1 when it is off.
    limit: usize,
    /// 0, which is always reached, until the FIFO control register is written.
    trigger: usize,
    overrun: bool,
    divisor: u16,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    /// Interrupts that were not taken yet.
    interrupts: u8,
}

impl Port {
    pub(super) fn new() -> Self {
        Self {
            fifo: [0; FIFO_SIZE],
            head: 0,
            tail: 0,
            count: 0,
            limit: FIFO_SIZE,
            trigger: 0,
            overrun: false,
            divisor: 0,
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 0,
            scratch: 0,
            interrupts: 0,
        }
    }

    /// Reads a register; `None` when nothing was read and the reader's buffer stays as it is.
    pub(super) fn read(&mut self, offset: u64) -> Option<u8> {
        let [low, high] = self.divisor.to_le_bytes();
        match offset {
            register::DATA if self.latch() => Some(low),
            register::DATA => self.receive(),
            register::INTERRUPT_ENABLE if self.latch() => Some(high),
            register::INTERRUPT_ENABLE => Some(self.interrupt_enable & 0x0f),
            register::INTERRUPT_IDENTIFICATION => Some(self.interrupt_identification()),
            register::LINE_CONTROL => Some(self.line_control),
            register::MODEM_CONTROL => Some(self.modem_control),
            register::LINE_STATUS => Some(self.line_status()),
            register::MODEM_STATUS => Some(self.modem_status()),
            register::SCRATCH => Some(self.scratch),
            _ => None,
        }
    }

    /// Writes a register.
    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset {
            register::DATA if self.latch() => self.divisor |= u16::from(value),
            register::DATA => self.transmit(value),
            register::INTERRUPT_ENABLE if self.latch() => self.divisor |= u16::from(value) << 8,
            register::INTERRUPT_ENABLE => {
                self.interrupt_enable = value;
                self.interrupt_if(enable::TRANSMITTER_EMPTY, self.looks_empty());
            }
            register::FIFO_CONTROL => {
                self.fifo_control = value;
                if value & FIFO_CLEAR != 0 {
                    (self.head, self.tail, self.count) = (0, 0, 0);
                }
                self.limit = if value & FIFO_ENABLE != 0 { FIFO_SIZE } else { 1 };
                // Whatever level is asked for.
                self.trigger = 1;
            }
            register::LINE_CONTROL => {
                self.line_control = value;
                if self.latch() {
                    self.divisor = 0;
                }
            }
            register::MODEM_CONTROL => {
                self.modem_control = value;
                self.interrupt_if(enable::MODEM_STATUS, value & SECOND_OUTPUT != 0);
                self.interrupt_if(enable::MODEM_STATUS, value & MODEM_LINES != 0);
            }
            register::SCRATCH => self.scratch = value,
            _ => {}
        }
    }

    /// How many interrupts the accesses since the last call caused.
    pub(super) fn take_interrupts(&mut self) -> u8 {
        std::mem::take(&mut self.interrupts)
    }

    fn interrupt_if(&mut self, enabled_by: u8, happened: bool) {
        if happened && self.interrupt_enable & enabled_by != 0 {
            self.interrupts = self.interrupts.saturating_add(1);
        }
    }

    fn latch(&self) -> bool {
        self.line_control & DIVISOR_LATCH != 0
    }

    fn looks_empty(&self) -> bool {
        self.head == self.tail
    }

    fn transmit(&mut self, value: u8) {
        self.overrun = self.count >= self.limit;
        if !self.overrun
            && let Some(place) = self.fifo.get_mut(self.head)
        {
            *place = value;
            self.head = after(self.head);
            self.count = self.count.saturating_add(1);
            self.interrupt_if(enable::RECEIVED, self.count == self.trigger);
        }
        self.interrupt_if(enable::LINE_STATUS, self.overrun);
    }

    fn receive(&mut self) -> Option<u8> {
        let mut value = None;
        if !self.looks_empty() {
            value = self.fifo.get(self.tail).copied();
            self.tail = after(self.tail);
            self.count = self.count.saturating_sub(1);
        }
        self.interrupt_if(enable::TRANSMITTER_EMPTY, self.looks_empty());
        value
    }

    /// The sum of what is pending, not the one of the highest priority.
    fn interrupt_identification(&self) -> u8 {
        let sources = [
            (enable::LINE_STATUS, self.overrun, pending::LINE_STATUS),
            (enable::RECEIVED, self.count >= self.trigger, pending::RECEIVED),
            (enable::TRANSMITTER_EMPTY, self.looks_empty(), pending::TRANSMITTER_EMPTY),
        ];
        let enabled = |bit| self.interrupt_enable & bit != 0;
        let sum = sources
            .into_iter()
            .filter(|(bit, active, _)| *active && enabled(*bit))
            .fold(0, |sum, (_, _, what)| sum | what);
        pending::FIFOS_ON | if sum == 0 { pending::NONE } else { sum }
    }

    fn line_status(&self) -> u8 {
        let data = if self.looks_empty() { TRANSMITTER_EMPTY } else { DATA_READY };
        data | if self.overrun { OVERRUN } else { 0 }
    }

    fn modem_status(&self) -> u8 {
        let full = self.count >= self.limit;
        let held = self.modem_control & AUTO_FLOW_CONTROL != 0 && full;
        READY | if held { 0 } else { CLEAR_TO_SEND }
    }
}

fn after(place: usize) -> usize {
    place.wrapping_add(1) % FIFO_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u64 = 0;
    const IER: u64 = 1;
    const IIR: u64 = 2;
    const FCR: u64 = 2;
    const LCR: u64 = 3;
    const MCR: u64 = 4;
    const LSR: u64 = 5;
    const MSR: u64 = 6;

    fn send(port: &mut Port, bytes: impl IntoIterator<Item = u8>) {
        bytes.into_iter().for_each(|byte| port.write(DATA, byte));
    }

    #[test]
    fn what_is_sent_is_received_in_order() {
        let mut port = Port::new();
        assert_eq!(port.read(LSR), Some(0x60));
        for round in 0..5u8 {
            send(&mut port, (0..15).map(|byte| byte ^ round));
            assert_eq!(port.read(LSR), Some(0x01));
            for byte in 0..15 {
                assert_eq!(port.read(DATA), Some(byte ^ round));
            }
            assert_eq!((port.read(LSR), port.read(DATA)), (Some(0x60), None));
        }
    }

    #[test]
    fn a_full_fifo_looks_empty_and_only_a_clear_helps() {
        let mut port = Port::new();
        send(&mut port, 0..16);
        assert_eq!(port.read(LSR), Some(0x60), "no overrun yet");
        assert_eq!(port.read(DATA), None);
        send(&mut port, [99]);
        assert_eq!(port.read(LSR), Some(0x62));
        assert_eq!(port.read(LSR), Some(0x62), "reading does not clear it");
        port.write(FCR, 0x03);
        assert_eq!(port.read(LSR), Some(0x62), "nor does clearing the FIFO");
        send(&mut port, [7]);
        assert_eq!(port.read(LSR), Some(0x01), "an accepted byte does");
        assert_eq!(port.read(DATA), Some(7));
    }

    #[test]
    fn with_the_fifo_off_the_second_byte_is_an_overrun() {
        let mut port = Port::new();
        port.write(FCR, 0x00);
        send(&mut port, [1, 2]);
        assert_eq!(port.read(LSR), Some(0x03));
        assert_eq!((port.read(DATA), port.read(DATA)), (Some(1), None));
    }

    #[test]
    fn the_latch_turns_data_and_interrupt_enable_into_the_divisor() {
        let mut port = Port::new();
        port.write(IER, 0x0f);
        port.write(LCR, 0x83);
        port.write(DATA, 0x01);
        port.write(DATA, 0x02);
        port.write(IER, 0x0c);
        assert_eq!([port.read(DATA), port.read(IER)], [Some(0x03), Some(0x0c)], "writes are ORed");
        port.write(LCR, 0x83);
        assert_eq!([port.read(DATA), port.read(IER)], [Some(0), Some(0)], "and cleared");
        port.write(LCR, 0x03);
        assert_eq!([port.read(IER), port.read(LCR)], [Some(0x0f), Some(0x03)]);
        assert_eq!(port.read(LSR), Some(0x60), "nothing was sent");
    }

    #[test]
    fn interrupt_identification_is_the_sum_of_what_is_pending() {
        let mut port = Port::new();
        assert_eq!(port.read(IIR), Some(0xc1));
        port.write(IER, 0xf1);
        assert_eq!(port.read(IER), Some(0x01));
        assert_eq!(port.read(IIR), Some(0xc4), "the trigger level is 0 at first");
        port.write(FCR, 0xc1);
        assert_eq!(port.read(IIR), Some(0xc1));
        send(&mut port, [1]);
        assert_eq!(port.read(IIR), Some(0xc4), "and then 1, whatever was asked for");
        port.read(DATA);
        port.write(IER, 0x03);
        assert_eq!(port.read(IIR), Some(0xc2));
        port.write(IER, 0x07);
        send(&mut port, 0..17);
        assert_eq!(port.read(IIR), Some(0xc6), "0x06 | 0x04 | 0x02");
        port.write(IER, 0x08);
        port.write(MCR, 0x0b);
        assert_eq!(port.read(IIR), Some(0xc1), "modem status never shows");
    }

    #[test]
    fn clear_to_send_follows_the_fifo_if_told_to() {
        let mut port = Port::new();
        assert_eq!(port.read(MSR), Some(0xb3));
        send(&mut port, 0..16);
        assert_eq!(port.read(MSR), Some(0xb3));
        port.write(MCR, 0x20);
        assert_eq!((port.read(MSR), port.read(MCR)), (Some(0xa2), Some(0x20)));
        port.write(FCR, 0x03);
        assert_eq!(port.read(MSR), Some(0xb3));
    }

    #[test]
    fn status_cannot_be_written_and_scratch_can() {
        let mut port = Port::new();
        for offset in [LSR, MSR, 8, u64::MAX] {
            port.write(offset, 0xff);
        }
        assert_eq!([port.read(LSR), port.read(MSR)], [Some(0x60), Some(0xb3)]);
        port.write(7, 0x5a);
        assert_eq!((port.read(7), port.read(8)), (Some(0x5a), None));
    }
}
