use super::*;

fn respond(question: &[u8], flags: [u8; 2], counts: [u16; 3], body: &[u8]) -> Vec<u8> {
    let mut out = question[..2].to_vec();
    out.extend(flags);
    out.extend([0, 1]);
    counts.iter().for_each(|count| out.extend(count.to_be_bytes()));
    out.extend(&question[HEADER_BYTES..]);
    out.extend(body);
    out
}

fn record(name: &[u8], record_type: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend(record_type.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

/// A pointer to the question's name.
const NAME: [u8; 2] = [0xc0, 12];
const OK: [u8; 2] = [0x81, 0x80];

fn question(record_type: RecordType) -> Vec<u8> {
    encode_question(7, "web.ns", record_type).unwrap()
}

fn records(answer: Answer) -> Vec<Record> {
    match answer {
        Answer::Records { records, .. } => records,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_addresses_through_aliases_with_the_shortest_ttl() {
    let asked = question(RecordType::A);
    let target = b"\x03WWW\x02ns\x00";
    let body = [
        record(&NAME, TYPE_CNAME, 5, target),
        record(target, 1, 60, &[10, 0, 0, 1]),
        record(b"\x05other\x00", 1, 60, &[6, 6, 6, 6]),
    ]
    .concat();
    let found = records(parse_answer(&respond(&asked, OK, [3, 0, 0], &body), &asked).unwrap());
    assert_eq!(
        found,
        [Record { name: "www.ns".into(), ttl: Duration::from_secs(5), data: Data::Address([10, 0, 0, 1].into()) }]
    );
}

#[test]
fn reads_services_and_their_additional_addresses() {
    let asked = question(RecordType::Srv);
    let srv = [b"\x00\x00\x00\x64\x1f\x96".as_slice(), b"\x03pod\x02ns\x00"].concat();
    let body = [record(&NAME, 33, 30, &srv), record(b"\x03pod\x02ns\x00", 28, 9, &[1; 16])].concat();
    let Answer::Records { records, additional } = parse_answer(&respond(&asked, OK, [1, 0, 1], &body), &asked).unwrap()
    else {
        panic!()
    };
    assert_eq!(records[0].data, Data::Service { port: 8086, target: "pod.ns".into() });
    assert_eq!(additional[0].data, Data::Address([1u8; 16].into()));
}

#[test]
fn tells_no_name_from_failure_and_truncation() {
    let asked = question(RecordType::A);
    let parse = |flags| parse_answer(&respond(&asked, flags, [0; 3], &[]), &asked);
    assert_eq!(parse([0x81, 0x83]), Ok(Answer::NoSuchName));
    assert_eq!(parse([0x81, 0x82]), Ok(Answer::ServerFailure(2)));
    assert_eq!(parse([0x83, 0x80]), Ok(Answer::Truncated));
}

#[test]
fn refuses_answers_to_other_questions() {
    let asked = question(RecordType::A);
    let other_id = encode_question(8, "web.ns", RecordType::A).unwrap();
    let other_name = encode_question(7, "wob.ns", RecordType::A).unwrap();
    for other in [other_id, other_name, question(RecordType::Aaaa)] {
        assert_eq!(parse_answer(&respond(&other, OK, [0; 3], &[]), &asked), Err(Rejected::NotOurs));
    }
    assert_eq!(parse_answer(&asked, &asked), Err(Rejected::NotOurs));
}

#[test]
fn refuses_compression_loops_and_overruns() {
    let asked = question(RecordType::A);
    let at = asked.len() as u8;
    for name in [[0xc0, at], [0xff, 0xff], [0x80, 0]] {
        let body = record(&name, 1, 1, &[1, 2, 3, 4]);
        assert_eq!(parse_answer(&respond(&asked, OK, [1, 0, 0], &body), &asked), Err(Rejected::Malformed));
    }
    let long = record(&NAME, 1, 1, &[1, 2, 3, 4, 5]);
    assert_eq!(parse_answer(&respond(&asked, OK, [1, 0, 0], &long), &asked), Err(Rejected::Malformed));
}

#[test]
fn never_panics_on_cut_or_changed_messages() {
    let asked = question(RecordType::Srv);
    let srv = [b"\x00\x00\x00\x64\x1f\x96".as_slice(), &NAME].concat();
    let whole = respond(&asked, OK, [1, 0, 0], &record(&NAME, 33, 30, &srv));
    for end in 0..whole.len() {
        assert!(parse_answer(&whole[..end], &asked).is_err());
    }
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut changed = whole.clone();
            changed[at] = byte;
            let _ = parse_answer(&changed, &asked);
        }
    }
}

#[test]
fn refuses_names_that_do_not_fit() {
    assert_eq!(encode_question(1, "a..b", RecordType::A), None);
    assert_eq!(encode_question(1, &"a".repeat(64), RecordType::A), None);
    assert_eq!(encode_question(1, &vec!["abcdefg"; 40].join("."), RecordType::A), None);
    assert_eq!(encode_question(1, "", RecordType::A), None);
}
