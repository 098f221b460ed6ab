"""Which operations an exported graph may have: those of every TensorFlow since 2.5.

A model server links the operations of its own release, so a graph that needs newer ones, or those
of one kind of hardware (`CudnnRNNV3`), would not load there.
"""

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

LONG_STANDING = frozenset(
    # Control flow and functions
    """
    Assert Case If Identity IdentityN LoopCond Merge NoOp PartitionedCall Placeholder
    PlaceholderWithDefault PreventGradient StatefulPartitionedCall StatelessIf StatelessWhile
    StopGradient Switch While Enter Exit NextIteration
    """
    # Variables, tables and checkpoints; TensorFlow's own saver adds DisableCopyOnRead
    """
    AssignVariableOp Const DisableCopyOnRead HashTableV2 LookupTableExportV2 LookupTableFindV2
    LookupTableImportV2 LookupTableSizeV2 MergeV2Checkpoints ReadVariableOp ResourceGather
    ResourceGatherNd RestoreV2 SaveV2 ShardedFilename StringToHashBucketFast VarHandleOp
    VarIsInitializedOp VariableShape
    """
    # Strings and ragged tensors
    """
    AsString RaggedBincount RaggedCross RaggedGather RaggedRange RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant ReduceJoin RegexFullMatch
    RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength
    StringLower StringSplitV2 StringStrip StringToNumber StringUpper Substr UnicodeDecode
    UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
    """
    # Shapes, slices and gathers
    """
    BroadcastArgs BroadcastTo ConcatV2 DynamicPartition DynamicStitch EnsureShape ExpandDims Fill
    GatherNd GatherV2 InvertPermutation LinSpace MatrixDiagV3 MirrorPad OneHot OnesLike Pack Pad
    PadV2 ParallelConcat Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape
    ShapeN Size Slice Split SplitV Squeeze StridedSlice TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
    TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListSplit
    TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate Tile Transpose Unpack Where ZerosLike EmptyTensorList
    """
    # Arithmetic and comparisons
    """
    Abs Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin BatchMatMul BatchMatMulV2
    BatchMatMulV3 BiasAdd Bincount Bucketize Cast Ceil ClipByValue Cos Cumprod Cumsum
    DenseBincount Div DivNoNan Einsum Elu Equal Erf EuclideanNorm Exp Expm1 Floor FloorDiv
    FloorMod Greater GreaterEqual InTopKV2 Inv IsFinite IsInf IsNan L2Loss LeakyRelu Less
    LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min
    Minimum Mod Mul MulNoNan Neg NotEqual Pow Prod RealDiv Reciprocal Relu Relu6 Rint Round Rsqrt
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Sigmoid Sign Sin
    Softmax Softplus Softsign Sqrt Square SquaredDifference Sub Sum Tan Tanh TopKV2 TruncateDiv
    TruncateMod Unique UniqueV2 UniqueWithCounts UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlogy
    """.split()
)


def unknown_ops(saved_model: Path) -> list[str]:
    """Finds the operations of a SavedModel that are not in `LONG_STANDING`."""
    parsed = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    used = set()
    for graph in (meta_graph.graph_def for meta_graph in parsed.meta_graphs):
        used.update(node.op for node in graph.node)
        for function in graph.library.function:
            used.update(node.op for node in function.node_def)
    return sorted(used - LONG_STANDING)
