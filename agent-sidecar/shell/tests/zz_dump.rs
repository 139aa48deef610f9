mod common;
#[test]
fn dump() {
    let text = std::fs::read("/tmp/corpus.bin").unwrap();
    let mut out = Vec::new();
    for l in text.split(|b| *b == 1) {
        let l = String::from_utf8_lossy(l);
        let a = common::look(&l);
        out.push(format!("{l}\u{2}{}\u{2}{}\u{2}{}", common::line(&a), common::commands(&a).join(" ; "), match &a.certainty { rr_shell::Certainty::Unforeseen(x)|rr_shell::Certainty::Unparsable(x)=>x.as_str(), _=>""}));
    }
    std::fs::write("/tmp/dump.bin", out.join("\u{1}")).unwrap();
}
