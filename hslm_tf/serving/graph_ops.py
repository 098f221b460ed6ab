"""Which operations an exported graph may have: those of every TensorFlow since 2.5, and few more.

A model server links the operations of its own release, so a graph that needs newer ones, or those
of one kind of hardware (`CudnnRNNV3`), would not load there.
"""

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

# TensorFlow's own saver adds `DisableCopyOnRead`.
LONG_STANDING = frozenset(
    """
    Abs Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin AsString Assert AssignVariableOp
    BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Bincount BroadcastArgs BroadcastTo Bucketize
    Case Cast Ceil ClipByValue ConcatV2 Const Cos Cumprod Cumsum DenseBincount DisableCopyOnRead
    Div DivNoNan DynamicPartition DynamicStitch Einsum Elu EmptyTensorList EnsureShape Enter
    Equal Erf EuclideanNorm Exit Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod GatherNd
    GatherV2 Greater GreaterEqual HashTableV2 Identity IdentityN If InTopKV2 Inv
    InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu Less LessEqual LinSpace Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableExportV2 LookupTableFindV2
    LookupTableImportV2 LookupTableSizeV2 LoopCond LowerBound MatMul MatrixDiagV3 Max Maximum Mean
    Merge
    MergeV2Checkpoints Min Minimum MirrorPad Mod Mul MulNoNan Neg NextIteration NoOp NotEqual
    OneHot OnesLike Pack Pad PadV2 ParallelConcat PartitionedCall Placeholder
    PlaceholderWithDefault Pow PreventGradient Prod RaggedBincount RaggedCross RaggedGather
    RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
    RaggedTensorToVariant Range Rank ReadVariableOp RealDiv Reciprocal ReduceJoin RegexFullMatch
    RegexReplace Relu Relu6 Reshape ResourceGather ResourceGatherNd RestoreV2 Reverse
    ReverseSequence ReverseV2 Rint Roll Round Rsqrt SaveV2 ScatterNd SegmentMax SegmentMean
    SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN ShardedFilename Sigmoid
    Sign Sin Size Slice Softmax Softplus Softsign Split SplitV Sqrt Square SquaredDifference
    Squeeze StatefulPartitionedCall StatelessIf StatelessWhile StaticRegexFullMatch
    StaticRegexReplace StopGradient StridedSlice StringFormat StringJoin StringLength
    StringLower StringSplitV2 StringStrip StringToHashBucketFast StringToNumber StringUpper Sub
    Substr Sum Switch Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListReserve TensorListResize TensorListSetItem TensorListSplit TensorListStack
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate Tile
    TopKV2 Transpose TruncateDiv TruncateMod UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeScript UnicodeTranscode Unique UniqueV2 UniqueWithCounts Unpack
    UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum VarHandleOp VarIsInitializedOp VariableShape Where While Xdivy Xlogy
    ZerosLike
    """.split()
)

# Operations of tensorflow-text for word pieces. Model servers link them since 2.11; a program that
# loads the model itself imports tensorflow_text first.
WORD_PIECES = frozenset({"FastBertNormalize", "FastWordpieceTokenizeWithOffsets"})


def unknown_ops(saved_model: Path, known: frozenset[str] = LONG_STANDING) -> list[str]:
    """Finds the operations of a SavedModel that are not among the known ones."""
    parsed = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    used = set()
    for graph in (meta_graph.graph_def for meta_graph in parsed.meta_graphs):
        used.update(node.op for node in graph.node)
        for function in graph.library.function:
            used.update(node.op for node in function.node_def)
    return sorted(used - known)
