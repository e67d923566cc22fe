# Lists.
{ lib }:

rec {
  inherit (builtins)
    all
    any
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isList
    length
    map
    partition
    sort
    tail
    ;
  foldr =
    f: nul: list:
    let
      step = index: if index == length list then nul else f (elemAt list index) (step (index + 1));
    in
    step 0;
  singleton = value: [ value ];
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  last = list: elemAt list (length list - 1);
  init = list: lib.take (length list - 1) list;
  take = count: list: genList (elemAt list) (if count < length list then count else length list);
  drop =
    count: list:
    if count >= length list then
      [ ]
    else
      genList (index: elemAt list (index + count)) (length list - count);
  range = from: to: if from > to then [ ] else genList (index: from + index) (to - from + 1);
  reverseList =
    list:
    let
      end = length list - 1;
    in
    genList (index: elemAt list (end - index)) (length list);
  flatten = value: if isList value then concatMap flatten value else [ value ];
  toList = value: if isList value then value else [ value ];
  unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];
  remove = value: filter (other: other != value);
  subtractLists = without: filter (value: !(elem value without));
  intersectLists = both: filter (value: elem value both);
  findFirst =
    predicate: default: list:
    let
      found = filter predicate list;
    in
    if found == [ ] then default else head found;
  count = predicate: list: length (filter predicate list);
  forEach = list: f: map f list;
  imap0 = f: list: genList (index: f index (elemAt list index)) (length list);
  imap1 = f: list: genList (index: f (index + 1) (elemAt list index)) (length list);
  zipListsWith =
    f: first: second:
    genList (index: f (elemAt first index) (elemAt second index)) (
      if length first < length second then length first else length second
    );
  naturalSort = sort (a: b: a < b);
  cartesianProduct =
    sets:
    foldl' (
      products: name:
      concatMap (product: map (value: product // { ${name} = value; }) sets.${name}) products
    ) [ { } ] (builtins.attrNames sets);
}
