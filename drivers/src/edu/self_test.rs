//! The device tested from end to end.

use pci_bus::SelfTestError;

use super::Edu;

/// Asks whether it is alive, lets it compute, and sends bytes into its buffer and back. What was in the
/// buffer is put back.
pub(super) fn run(edu: &Edu) -> Result<String, SelfTestError> {
    if !edu.is_alive()? {
        return Err("it does not invert what it is given".into());
    }
    let found = edu.factorial(10)?;
    if found != 3_628_800 {
        return Err(format!("it says that the factorial of 10 is {found}").into());
    }
    let mut before = vec![0; Edu::BUFFER];
    edu.read(0, &mut before)?;
    let looped = loopback(edu);
    edu.write(0, &before)?;
    looped?;
    let (major, minor) = edu.version()?;
    Ok(format!(
        "version {major}.{minor} is alive, computed a factorial, and copied {} bytes by DMA there and \
         back, told by {}",
        Edu::BUFFER,
        edu.interrupt()
    ))
}

fn loopback(edu: &Edu) -> Result<(), SelfTestError> {
    let sent: Vec<u8> = (0..Edu::BUFFER).map(|at| (at % 251).to_le_bytes()[0] ^ 0xa5).collect();
    let mut received = vec![0; sent.len()];
    edu.write(0, &sent)?;
    edu.read(0, &mut received)?;
    match sent.iter().zip(&received).position(|(sent, received)| sent != received) {
        Some(at) => Err(format!("byte {at} came back changed from its buffer").into()),
        None => Ok(()),
    }
}
