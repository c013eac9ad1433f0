/// The number in base 36, lower case.
fn base36(mut number: u32) -> String {
    let mut digits = Vec::with_capacity(7);
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|&digit| char::from(digit)).collect()
}
