/**
 * Structure of discovery.k8s.io/v1, events.k8s.io/v1 and coordination.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const networkTypes = `
Endpoint: addresses!:[](set) conditions:EndpointConditions deprecatedTopology:{} hints:EndpointHints hostname
  nodeName targetRef:ObjectReference zone
EndpointConditions: ready:bool serving:bool terminating:bool
EndpointHints: forNodes:any forZones:[ForZone]
EndpointSlice: addressType! endpoints:[Endpoint] metadata:ObjectMeta ports:[EndpointSlicePort]
EndpointSlicePort(atomic): appProtocol name port:int protocol=TCP
ForZone: name!
EventsEvent: action deprecatedCount:int deprecatedFirstTimestamp:time deprecatedLastTimestamp:time
  deprecatedSource:EventSource eventTime:time metadata:ObjectMeta note reason regarding:ObjectReference
  related:ObjectReference reportingController reportingInstance series:EventsEventSeries type
EventsEventSeries: count!:int lastObservedTime!:time
Lease: metadata:ObjectMeta spec:LeaseSpec
LeaseSpec: acquireTime:time holderIdentity leaseDurationSeconds:int64 leaseTransitions:int preferredHolder
  renewTime:time strategy
`;
