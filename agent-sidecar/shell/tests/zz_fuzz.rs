use std::time::Instant;
#[test]
fn speed() {
    let e = rr_shell::Env{cwd: std::path::Path::new("/w"), home: None};
    for c in ["\"$(\"$(( ( ( ( ( ( x; 1 ) ); rm y ) ); \"$(1)\" ) ))\")\"", "(( ( ( ( ( ( ( ( ( ( ( (x; y) ) ) ) ) ) ) ) ) ) ) ))"] {
    for _ in 0..3 { let t0 = Instant::now();
    let a = rr_shell::analyse(c, &e);
    eprintln!("{} bytes {:?} {:?}", c.len(), t0.elapsed(), a.certainty); }
    }
}
