//! What comes in, and how it is refused.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};
use datafusion::parquet::arrow::ArrowWriter;
use futures::StreamExt as _;
use ringfence_engine::{LoadFormat, LoadMode, SourceError, TableLoad};
use ringfence_policy::Constraint;

use crate::{World, address, load};

fn complaint(result: Result<ringfence_engine::LoadedTable, SourceError>) -> String {
    match result {
        Err(SourceError::Data(message) | SourceError::TableConflict(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn columns_and_keys_are_in_the_catalog() {
    let world = World::new();
    let keyed = TableLoad { keys: vec!["Sale ID".to_owned()], ..load("sales") };
    let loaded =
        world.try_load(keyed, "\u{feff}Sale ID,Quantity,Day\nT1,4.0,2024-01-31\nT2,,\n").await.unwrap();
    assert_eq!((loaded.loaded, loaded.rows, loaded.version), (2, 2, 1));
    let catalog = world.engine.introspect(&address("shop"), &|_, _, _| {}).await.unwrap();
    let sales = catalog.relation("public", "sales").unwrap();
    let columns: Vec<_> = sales
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.data_type.as_str(), column.nullable))
        .collect();
    assert_eq!(
        columns,
        [("Sale ID", "text", false), ("Quantity", "numeric(18,1)", true), ("Day", "date", true)]
    );
    assert_eq!(sales.constraints, [Constraint::Primary { columns: vec!["Sale ID".to_owned()] }]);
}

#[tokio::test]
async fn every_bad_row_is_named() {
    let world = World::new();
    let typed = TableLoad { types: vec![("n".to_owned(), "smallint".to_owned())], ..load("t") };
    let rows: String = (0..50).map(|row| if row % 2 == 0 { "1,a\n" } else { "99999,\"b\nc\"\n" }).collect();
    let message = complaint(world.try_load(typed, &format!("n,s\n{rows}")).await);
    assert!(message.contains(r#"line 3: "n" is not of the type smallint: "99999""#), "{message}");
    // A text of two lines counts as two.
    assert!(message.contains("line 6: "), "{message}");
    assert!(message.ends_with("and 5 more"), "{message}");
}

#[tokio::test]
async fn appended_rows_fit_the_table() {
    let world = World::new();
    world.load("t", "a,b\n1,x\n").await;
    let append = || TableLoad { mode: LoadMode::Append, ..load("t") };
    world.try_load(append(), "b,a\ny,2\n").await.unwrap();
    assert_eq!(world.json("SELECT a, b FROM t ORDER BY a").await, r#"[[1,"x"],[2,"y"]]"#);
    assert!(complaint(world.try_load(append(), "a,c\n1,x\n").await).contains("other columns"));
    assert!(complaint(world.try_load(append(), "a,b\nz,x\n").await).contains("line 2"));
    let keyed = TableLoad { keys: vec!["a".to_owned()], ..append() };
    assert!(complaint(world.try_load(keyed, "a,b\n3,x\n").await).contains("other keys"));
    assert_eq!(world.json("SELECT count(*) FROM t").await, "[[2]]");
    world.try_load(TableLoad { keys: vec!["k".to_owned()], ..load("keyed") }, "k,v\n1,x\n").await.unwrap();
    let more = TableLoad { mode: LoadMode::Append, ..load("keyed") };
    assert!(complaint(world.try_load(more.clone(), "k,v\n,y\n").await).contains("is a key and is empty"));
    assert!(complaint(world.try_load(more, "k,v\n1,y\n").await).contains("share a key"));
    // Of a table that there is not, it is the first.
    let first = TableLoad { mode: LoadMode::Append, ..load("new") };
    assert_eq!(world.try_load(first, "a\n1\n").await.unwrap().rows, 1);
}

#[tokio::test]
async fn names_and_sizes_have_limits() {
    let world = World::new();
    for name in ["", "../t", "a/b", ".hidden", " t", "t\n", "a.b"] {
        assert!(matches!(world.try_load(load(name), "a\n1\n").await, Err(SourceError::Data(_))), "{name:?}");
        let removed = world.engine.remove_table(&address("shop"), name).await;
        assert!(matches!(removed, Err(SourceError::NoTable(_))), "{name:?}");
    }
    let small = TableLoad { max_bytes: 10, ..load("t") };
    assert!(complaint(world.try_load(small, "a\n1\n2\n3\n4\n5\n").await).contains("larger than 10 bytes"));
    assert!(complaint(world.try_load(load("t"), "").await).contains("empty"));
    assert!(!world.lake.join(".ringfence/tables/t.json").exists());
    assert_eq!(world.load("Größe 2024", "a\n1\n").await.rows, 1);
    assert_eq!(world.json(r#"SELECT a FROM "Größe 2024""#).await, "[[1]]");
}

#[tokio::test]
async fn a_table_without_rows_has_columns() {
    let world = World::new();
    world.load("t", "a,b\n").await;
    assert_eq!(world.json("SELECT a, b FROM t").await, "[]");
    assert_eq!(world.json("SELECT count(*) FROM t").await, "[[0]]");
}

fn batch() -> RecordBatch {
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("w", words_type(), true),
        Field::new("u", DataType::UInt64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("s", DataType::Utf8, true),
    ]);
    let columns: Vec<datafusion::arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
        Arc::new(words),
        Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1])),
        Arc::new(Float64Array::from(vec![0.5, 1e300, -0.25])),
        Arc::new(TimestampNanosecondArray::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some(""), None, Some("x")])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn words_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

async fn load_bytes(
    world: &World,
    format: LoadFormat,
    bytes: Vec<u8>,
) -> Result<ringfence_engine::LoadedTable, SourceError> {
    let body = futures::stream::iter([Ok(Bytes::from(bytes))]).boxed();
    let wanted = TableLoad { format, keys: vec!["t".to_owned()], ..load("t") };
    world.engine.load(&address("shop"), wanted, body).await
}

#[tokio::test]
async fn parquet_and_arrow_come_in_as_they_are() {
    let batch = batch();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let (mut stream, mut file) = (Vec::new(), Vec::new());
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let mut writer = FileWriter::try_new(&mut file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    for (format, bytes) in
        [(LoadFormat::Parquet, parquet), (LoadFormat::Arrow, stream), (LoadFormat::Arrow, file)]
    {
        let world = World::new();
        let loaded = load_bytes(&world, format, bytes.clone()).await.unwrap();
        let types: Vec<_> = loaded.columns.iter().map(|(_, data_type)| data_type.as_str()).collect();
        assert_eq!(types, ["bigint", "text", "numeric(20,0)", "double precision", "timestamp(9)", "text"]);
        assert_eq!(
            world.json("SELECT n, w, u, f, s FROM t ORDER BY t").await,
            r#"[[1,"a","18446744073709551615",0.5,""],[null,"b",0,1e+300,null],[3,"a",1,-0.25,"x"]]"#
        );
        // What is cut short is nothing.
        let cut = load_bytes(&world, format, bytes[..bytes.len() / 2].to_vec()).await;
        assert!(matches!(cut, Err(SourceError::Data(_) | SourceError::Lost)), "{cut:?}");
        assert_eq!(world.json("SELECT count(*) FROM t").await, "[[3]]");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_loads_nothing() {
    let world = World::new();
    world.load("t", "n\n1\n").await;
    let broken = SourceError::Data("the request body broke off".to_owned());
    let body = futures::stream::iter([Ok(Bytes::from("n\n2\n")), Err(broken)]).boxed();
    assert!(world.engine.load(&address("shop"), load("t"), body).await.is_err());
    assert_eq!(world.json("SELECT n FROM t").await, "[[1]]");
}
