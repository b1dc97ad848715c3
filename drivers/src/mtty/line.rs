//! How a port puts bytes on the line.

use std::num::NonZeroU16;

/// Ticks of the clock a second at divisor 1: the highest speed.
const CLOCK: u32 = 115_200;

/// Speed and framing of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    divisor: NonZeroU16,
    data_bits: u8,
    stop_bits: StopBits,
    parity: Parity,
}

/// The check bit of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// There is none.
    #[default]
    None,
    /// Makes the number of ones odd.
    Odd,
    /// Makes the number of ones even.
    Even,
}

/// The pause after a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopBits {
    /// One bit long.
    #[default]
    One,
    /// Two bits long, one and a half with 5 data bits.
    Two,
}

impl LineSettings {
    /// `baud` bits a second, 8 data bits, no parity, one stop bit; `None` when the clock, 115200
    /// divided by a whole number up to 65535, has no such speed.
    #[must_use]
    pub fn at_baud(baud: u32) -> Option<Self> {
        let exact = baud != 0 && CLOCK.is_multiple_of(baud);
        let divisor = exact.then(|| CLOCK.checked_div(baud)).flatten()?;
        let divisor = NonZeroU16::new(u16::try_from(divisor).ok()?)?;
        let (stop_bits, parity) = (StopBits::One, Parity::None);
        Some(Self { divisor, data_bits: 8, stop_bits, parity })
    }

    /// With 5 to 8 data bits; `None` for another number.
    #[must_use]
    pub fn data_bits(self, data_bits: u8) -> Option<Self> {
        (5..=8).contains(&data_bits).then_some(Self { data_bits, ..self })
    }

    /// With this pause.
    #[must_use]
    pub fn stop_bits(self, stop_bits: StopBits) -> Self {
        Self { stop_bits, ..self }
    }

    /// With this check bit.
    #[must_use]
    pub fn parity(self, parity: Parity) -> Self {
        Self { parity, ..self }
    }

    /// Bits a second.
    #[must_use]
    pub fn baud(self) -> u32 {
        CLOCK / u32::from(self.divisor.get())
    }

    pub(super) fn divisor_bytes(self) -> [u8; 2] {
        self.divisor.get().to_le_bytes()
    }

    /// The line control register, without the divisor latch.
    pub(super) fn line_control(self) -> u8 {
        let data = self.data_bits.saturating_sub(5);
        let stop = match self.stop_bits {
            StopBits::One => 0,
            StopBits::Two => 1 << 2,
        };
        let parity = match self.parity {
            Parity::None => 0,
            Parity::Odd => 1 << 3,
            Parity::Even => 1 << 3 | 1 << 4,
        };
        data | stop | parity
    }
}

/// 9600 bits a second, 8 data bits, no parity, one stop bit.
impl Default for LineSettings {
    fn default() -> Self {
        // 115200 / 9600 = 12.
        let divisor = NonZeroU16::MIN.saturating_add(11);
        Self { divisor, data_bits: 8, stop_bits: StopBits::One, parity: Parity::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_the_register_values_of_a_16550() {
        let line = LineSettings::default();
        assert_eq!((line.baud(), line.divisor_bytes(), line.line_control()), (9600, [12, 0], 0x03));
        let line = LineSettings::at_baud(50).unwrap().data_bits(7).unwrap();
        let line = line.parity(Parity::Even).stop_bits(StopBits::Two);
        assert_eq!((line.divisor_bytes(), line.line_control()), ([0x00, 0x09], 0x1e));
    }

    #[test]
    fn speeds_and_widths_that_the_card_does_not_have_are_refused() {
        for baud in [0, 1, 110, 115_201, u32::MAX] {
            assert_eq!(LineSettings::at_baud(baud), None, "{baud}");
        }
        assert_eq!(LineSettings::default().data_bits(4), None);
        assert_eq!(LineSettings::default().data_bits(9), None);
    }
}
