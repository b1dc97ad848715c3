//! What of a region is planned to be mapped, against a model that looks at every stretch of bytes
//! between two boundaries on its own.

use std::ops::Range;
use std::slice::from_ref;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vfio_common::region::{Area, MappingPlan, Refusal, RegionFlags, RegionInfo, plan};

const PAGE: u64 = 4096;
const MAPPABLE: RegionFlags = RegionFlags::READ.union(RegionFlags::WRITE).union(RegionFlags::MMAP);

fn area(offset: u64, size: u64) -> Area {
    Area { offset, size }
}

fn sparse(size: u64, areas: &[(u64, u64)]) -> RegionInfo {
    let mut info = RegionInfo::new(0, MAPPABLE, size, 0);
    info.sparse = Some(areas.iter().map(|&(offset, size)| area(offset, size)).collect());
    info
}

#[derive(Debug, Clone)]
struct Case {
    info: RegionInfo,
    holes: Vec<Range<u64>>,
    page: u64,
}

impl Case {
    fn plan(&self) -> MappingPlan {
        plan(&self.info, &self.holes, self.page)
    }
}

/// A place near the start of a page among the first, or near the end of what 64 bits can say.
fn place(page: u64) -> impl Strategy<Value = u64> {
    let near = prop_oneof![6 => Just(0), 1 => -9..10i64, 1 => Just(0x800)];
    let page_start = prop_oneof![
        20 => (0..12u64).prop_map(move |pages| pages * page),
        1 => (0..3u64).prop_map(move |pages| u64::MAX - (page - 1) - pages * page),
    ];
    (page_start, near).prop_map(|(start, near)| start.saturating_add_signed(near))
}

fn case(flags: impl Strategy<Value = RegionFlags>) -> impl Strategy<Value = Case> {
    let page = prop_oneof![Just(4096u64), Just(65536)];
    (page, flags).prop_flat_map(|(page, flags)| {
        let size = prop_oneof![8 => place(page), 1 => Just(u64::MAX), 1 => Just(9 * page)];
        let extent = prop_oneof![4 => (1..4u64).prop_map(move |n| n * page), 1 => place(page)];
        let areas = vec((place(page), extent).prop_map(|(start, size)| area(start, size)), 0..7);
        let starts =
            prop_oneof![6 => Just(0), 2 => Just(7 << 40), 1 => Just(page / 2), 1 => Just(8)];
        let holes = vec((place(page), place(page)).prop_map(|(start, end)| start..end), 0..4);
        (size, starts, option::weighted(0.6, areas), any::<bool>(), holes).prop_map(
            move |(size, offset, sparse, msix_mappable, holes)| {
                let mut info = RegionInfo::new(0, flags, size, offset);
                (info.sparse, info.msix_mappable) = (sparse, msix_mappable);
                Case { info, holes, page }
            },
        )
    })
}

fn mappable() -> impl Strategy<Value = Case> {
    case(Just(MAPPABLE)).prop_filter("nothing is offered", |case| case.info.size > 0).prop_map(
        |mut case| {
            case.info.offset -= case.info.offset % case.page;
            case
        },
    )
}

// The model counts in 128 bits: nothing wraps.

type Span = Range<u128>;

fn span(area: Area) -> Span {
    u128::from(area.offset)..u128::from(area.offset) + u128::from(area.size)
}

fn within(span: &Span, size: u64) -> Span {
    span.start..span.end.min(size.into())
}

fn meet(one: &Span, other: &Span) -> bool {
    one.start.max(other.start) < one.end.min(other.end)
}

/// The part of an area that may be mapped if it meets no other.
fn sound(offered: Area, size: u64, page: u64) -> Result<Span, Refusal> {
    let (bytes, size, page) = (span(offered), u128::from(size), u128::from(page));
    if bytes.is_empty() {
        Err(Refusal::Empty)
    } else if bytes.end > u128::from(u64::MAX)
        || bytes.start >= size
        || bytes.end > size.div_ceil(page) * page
    {
        Err(Refusal::Outside)
    } else if bytes.start % page != 0 || (bytes.end % page != 0 && bytes.end < size) {
        Err(Refusal::Misaligned)
    } else {
        Ok(bytes.start..bytes.end.min(size))
    }
}

/// What is to be mapped, in any order, and what is to be refused.
fn model(case: &Case) -> (Vec<Span>, Vec<(Span, Refusal)>) {
    let (info, page) = (&case.info, u128::from(case.page));
    let pages = |hole: &Range<u64>| {
        u128::from(hole.start) / page * page..u128::from(hole.end).div_ceil(page) * page
    };
    let whole = 0..u128::from(info.size);
    let (mut mapped, mut hidden, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    match &info.sparse {
        Some(areas) => {
            let judged: Vec<_> =
                areas.iter().map(|area| sound(*area, info.size, case.page)).collect();
            for (index, (offered, judged_as)) in areas.iter().zip(&judged).enumerate() {
                let meets_another = |span: &Span| {
                    let others = judged.iter().enumerate().filter(|(other, _)| *other != index);
                    others
                        .filter_map(|(_, other)| other.as_ref().ok())
                        .any(|other| meet(span, other))
                };
                match judged_as {
                    Err(why) => refused.push((span(*offered), *why)),
                    Ok(span) if meets_another(span) => {
                        refused.push((span.clone(), Refusal::Overlap));
                    }
                    Ok(span) => mapped.push(span.clone()),
                }
            }
        }
        None if info.msix_mappable => mapped.push(whole),
        None => {
            // Each stretch between two boundaries is in a hole or in none.
            let holes: Vec<Span> =
                case.holes.iter().filter(|hole| !hole.is_empty()).map(pages).collect();
            let bounds = places(holes.iter().cloned().chain([whole.clone()]));
            for (&start, &end) in bounds.iter().zip(bounds.iter().skip(1)) {
                let stretch = within(&(start..end), info.size);
                if count(&holes, start) > 0 {
                    add(&mut hidden, stretch)
                } else {
                    add(&mut mapped, stretch)
                }
            }
        }
    }
    mapped.retain(|span| !span.is_empty());
    refused.extend(hidden.into_iter().map(|span| (span, Refusal::Msix)));
    (mapped, refused)
}

/// Adds a stretch behind the others, to the last of them if they touch.
fn add(spans: &mut Vec<Span>, stretch: Span) {
    match spans.last_mut() {
        _ if stretch.is_empty() => {}
        Some(last) if last.end == stretch.start => last.end = stretch.end,
        _ => spans.push(stretch),
    }
}

/// One place in each stretch between two boundaries, the boundaries included.
fn places(spans: impl IntoIterator<Item = Span>) -> Vec<u128> {
    let mut places: Vec<_> = spans.into_iter().flat_map(|span| [span.start, span.end]).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn count(spans: &[Span], place: u128) -> usize {
    spans.iter().filter(|span| span.contains(&place)).count()
}

fn refusals(plan: &MappingPlan, size: u64) -> Vec<(Span, Refusal)> {
    let of_overlap = |(offered, why): &(Area, Refusal)| match why {
        // Whether the area is told as offered or as cut at the region's end does not matter here.
        Refusal::Overlap => (within(&span(*offered), size), *why),
        _ => (span(*offered), *why),
    };
    sorted(plan.refused.iter().map(of_overlap).collect())
}

fn sorted(mut refused: Vec<(Span, Refusal)>) -> Vec<(Span, Refusal)> {
    refused.sort_by_key(|(span, why)| (span.start, span.end, why.to_string()));
    refused
}

fn any_flags() -> impl Strategy<Value = RegionFlags> {
    any::<u32>().prop_map(RegionFlags::from_bits_retain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_areas_are_sorted_apart_inside_the_region_and_start_and_end_at_pages(case in mappable()) {
        let mut reached = None;
        for area in case.plan().areas {
            prop_assert!(area.size > 0);
            prop_assert!(reached.is_none_or(|end| area.offset > end), "{:?} touches", area);
            prop_assert!(area.offset.is_multiple_of(case.page));
            let end = area.end().unwrap_or(u64::MAX);
            prop_assert!(end <= case.info.size, "{:?} leaves the region", area);
            prop_assert!(end.is_multiple_of(case.page) || end == case.info.size);
            reached = Some(end);
        }
    }

    #[test]
    fn each_byte_is_mapped_just_when_the_model_says_so(case in mappable()) {
        let (expected, _) = model(&case);
        let mapped: Vec<_> = case.plan().areas.into_iter().map(span).collect();
        for place in places(expected.iter().chain(&mapped).cloned()) {
            prop_assert_eq!(count(&mapped, place), count(&expected, place), "byte {:#x}", place);
        }
    }

    #[test]
    fn each_mapped_byte_was_offered_by_exactly_one_sound_area(case in mappable()) {
        let Some(offered) = &case.info.sparse else { return Ok(()) };
        let (size, page) = (case.info.size, case.page);
        let offered: Vec<_> =
            offered.iter().filter_map(|area| sound(*area, size, page).ok()).collect();
        let mapped: Vec<_> = case.plan().areas.into_iter().map(span).collect();
        for place in places(offered.iter().chain(&mapped).cloned()) {
            if count(&mapped, place) > 0 {
                prop_assert_eq!(count(&offered, place), 1, "byte {:#x}", place);
            }
        }
    }

    #[test]
    fn each_area_that_is_not_mapped_is_refused_for_its_reason(case in mappable()) {
        let (_, expected) = model(&case);
        prop_assert_eq!(refusals(&case.plan(), case.info.size), sorted(expected));
    }

    #[test]
    fn what_is_mapped_and_what_is_refused_account_for_all_that_was_offered(case in mappable()) {
        let whole = vec![area(0, case.info.size)];
        let offered: Vec<_> =
            case.info.sparse.as_ref().unwrap_or(&whole).iter().copied().map(span).collect();
        let plan = case.plan();
        let mapped: Vec<_> = plan.areas.iter().copied().map(span).collect();
        let refused: Vec<_> = plan.refused.iter().map(|(area, _)| span(*area)).collect();
        let inside = |place: &u128| *place < case.info.size.into();
        let all = offered.iter().chain(&mapped).chain(&refused).cloned();
        for place in places(all).into_iter().filter(inside) {
            let told = count(&mapped, place) + count(&refused, place);
            prop_assert_eq!(told, count(&offered, place), "byte {:#x}", place);
        }
    }

    #[test]
    fn no_page_of_a_hole_is_mapped_unless_the_kernel_said_so(case in mappable()) {
        let plan = case.plan();
        if case.info.sparse.is_some() || case.info.msix_mappable {
            prop_assert_eq!(plan, Case { holes: Vec::new(), ..case }.plan());
            return Ok(());
        }
        let page = u128::from(case.page);
        for hole in case.holes.iter().filter(|hole| !hole.is_empty()) {
            for mapped in plan.areas.iter().copied().map(span) {
                let first_page = mapped.start / page;
                let last_page = (mapped.end - 1) / page;
                let before = last_page < u128::from(hole.start) / page;
                let behind = first_page > u128::from(hole.end - 1) / page;
                prop_assert!(before || behind, "{:#x?} has a page of {:#x?}", mapped, hole);
            }
        }
    }

    #[test]
    fn the_order_of_holes_does_not_matter(case in mappable()) {
        let holes = case.holes.iter().rev().cloned().collect();
        prop_assert_eq!(case.plan(), Case { holes, ..case }.plan());
    }

    #[test]
    fn flags_and_start_of_the_region_decide_before_the_areas_do(case in case(any_flags())) {
        let plan = case.plan();
        let offered = case.info.sparse.clone().unwrap_or(vec![area(0, case.info.size)]);
        let refused = |why| offered.into_iter().map(|area| (area, why)).collect::<Vec<_>>();
        let flags = case.info.flags;
        if !flags.contains(RegionFlags::MMAP) || case.info.size == 0 {
            prop_assert_eq!(plan, MappingPlan::default());
        } else if !flags.contains(RegionFlags::READ) {
            prop_assert_eq!(plan.areas, []);
            prop_assert_eq!(plan.refused, refused(Refusal::NotReadable));
        } else if case.info.offset % case.page != 0 {
            prop_assert_eq!(plan.areas, []);
            prop_assert_eq!(plan.refused, refused(Refusal::RegionMisaligned));
        } else {
            let (expected, _) = model(&case);
            prop_assert_eq!(plan.areas.is_empty(), expected.is_empty());
        }
    }
}

#[test]
fn an_empty_list_maps_nothing_and_no_list_maps_the_whole_region() {
    assert_eq!(plan(&sparse(0x8000, &[]), &[], PAGE), MappingPlan::default());
    let whole = plan(&RegionInfo::new(0, MAPPABLE, 0x8123, 0), &[], PAGE);
    assert_eq!((whole.areas, whole.refused), (vec![area(0, 0x8123)], vec![]));
}

#[test]
fn a_hole_without_bytes_in_the_region_takes_no_page() {
    let info = RegionInfo::new(0, MAPPABLE, 0x8000, 0);
    let outside = [(0x8000, 0x9000), (0x9000, u64::MAX)];
    for (start, end) in [(0x1800, 0x1800), (0x1810, 0x1800)].into_iter().chain(outside) {
        let plan = plan(&info, from_ref(&(start..end)), PAGE);
        assert_eq!((plan.areas, plan.refused), (vec![area(0, 0x8000)], vec![]));
    }
}

#[test]
fn a_region_shorter_than_a_page_is_mapped_up_to_its_end() {
    for page in [4096, 65536] {
        let plan = plan(&RegionInfo::new(0, MAPPABLE, 0x100, 0), &[], page);
        assert_eq!(plan.areas, [area(0, 0x100)], "pages of {page} bytes");
    }
}

#[test]
fn the_pages_of_this_host_decide_what_is_aligned() {
    let info = sparse(0x4_0000, &[(0x1_0000, 0x1_0000), (0x3_1000, 0x1000)]);
    let both = plan(&info, &[], 4096);
    assert_eq!(both.areas, [area(0x1_0000, 0x1_0000), area(0x3_1000, 0x1000)]);
    let one = plan(&info, &[], 65536);
    assert_eq!(one.areas, [area(0x1_0000, 0x1_0000)]);
    assert_eq!(one.refused, [(area(0x3_1000, 0x1000), Refusal::Misaligned)]);
}

#[test]
fn areas_that_touch_are_one_and_a_gap_of_one_page_keeps_them_apart() {
    let touching = [(0x5000, 0x1000), (0x2000, 0x1000), (0x3000, 0x1000), (0x0, 0x1000)];
    let plan = plan(&sparse(0x8000, &touching), &[], PAGE);
    assert_eq!(plan.areas, [area(0, 0x1000), area(0x2000, 0x2000), area(0x5000, 0x1000)]);
    assert_eq!(plan.refused, []);
}

#[test]
fn an_area_under_a_long_one_takes_all_that_it_meets_with_it() {
    // The last is met by the first only, with another between them.
    let plan = plan(
        &sparse(0x10000, &[(0, 0x6000), (0x1000, 0x1000), (0x5000, 0x1000), (0x7000, 0x1000)]),
        &[],
        PAGE,
    );
    assert_eq!(plan.areas, [area(0x7000, 0x1000)]);
    assert_eq!(plan.refused.len(), 3);
    assert!(plan.refused.iter().all(|(_, why)| *why == Refusal::Overlap));
}

#[test]
fn an_area_offered_twice_is_not_mapped() {
    let plan = plan(&sparse(0x4000, &[(0x1000, 0x1000), (0x1000, 0x1000)]), &[], PAGE);
    assert_eq!(plan.areas, []);
    assert_eq!(plan.refused, [(area(0x1000, 0x1000), Refusal::Overlap); 2]);
}

#[test]
fn an_end_that_the_kernel_rounded_up_is_cut_at_the_regions_end() {
    let cut = plan(&sparse(0x2345, &[(0x1000, 0x2000)]), &[], PAGE);
    assert_eq!((cut.areas, cut.refused), (vec![area(0x1000, 0x1345)], vec![]));
    for (offset, size) in [(0x1000, 0x2001), (0x2345, 1), (0x2800, 0x800)] {
        let beyond = plan(&sparse(0x2345, &[(offset, size)]), &[], PAGE);
        assert_eq!(beyond.refused, [(area(offset, size), Refusal::Outside)]);
    }
}

#[test]
fn areas_that_wrap_or_reach_out_are_refused() {
    let last_page = u64::MAX - (PAGE - 1);
    let out =
        [(last_page, PAGE), (PAGE, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX), (0, 0x5000)];
    for (offset, size) in out {
        let plan = plan(&sparse(0x4000, &[(offset, size)]), &[], PAGE);
        assert_eq!(plan.areas, []);
        assert_eq!(plan.refused, [(area(offset, size), Refusal::Outside)]);
    }
}

#[test]
fn a_region_as_large_as_64_bits_can_say_is_planned_without_an_overflow() {
    let whole = RegionInfo::new(0, MAPPABLE, u64::MAX, 0);
    assert_eq!(plan(&whole, &[], PAGE).areas, [area(0, u64::MAX)]);

    let last_page = u64::MAX - (PAGE - 1);
    let hole_at_end = plan(&whole, from_ref(&(u64::MAX - 1..u64::MAX)), PAGE);
    assert_eq!(hole_at_end.areas, [area(0, last_page)]);
    assert_eq!(hole_at_end.refused, [(area(last_page, PAGE - 1), Refusal::Msix)]);

    let end_offered = plan(&sparse(u64::MAX, &[(last_page, PAGE - 1)]), &[], PAGE);
    assert_eq!(end_offered.areas, [area(last_page, PAGE - 1)]);
}

#[test]
fn a_refused_area_is_told_as_the_kernel_offered_it() {
    let offered = [(0, 0x2000), (0x1000, 0x1000)];
    let refused = plan(&sparse(0x1100, &offered), &[], PAGE).refused;
    assert_eq!(refused, offered.map(|(offset, size)| (area(offset, size), Refusal::Overlap)));
}
