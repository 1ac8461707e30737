/**
 * Structure of the fields that every object has and of small types that all groups use.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const metaTypes = `
Condition: lastTransitionTime:time message observedGeneration:int64 reason status type
DeleteOptions: apiVersion dryRun:[] gracePeriodSeconds:int64 kind orphanDependents:bool preconditions:Preconditions
  propagationPolicy
LabelSelector(atomic): matchExpressions:[LabelSelectorRequirement] matchLabels:{}
LabelSelectorRequirement: key! operator! values:[]
ManagedFieldsEntry: apiVersion fieldsType fieldsV1:any manager operation subresource time:time
ObjectMeta: annotations:{} creationTimestamp:time deletionGracePeriodSeconds:int64 deletionTimestamp:time
  finalizers:[](set) generateName generation:int64 labels:{} managedFields:[ManagedFieldsEntry] name namespace
  ownerReferences:[OwnerReference](uid) resourceVersion selfLink uid
OwnerReference: apiVersion! blockOwnerDeletion:bool controller:bool kind! name! uid!
Preconditions: resourceVersion uid
`;
