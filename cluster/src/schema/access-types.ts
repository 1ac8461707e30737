/**
 * Structure of rbac.authorization.k8s.io/v1, authentication.k8s.io/v1 and authorization.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const accessTypes = `
AggregationRule: clusterRoleSelectors:[LabelSelector]
ClusterRole: aggregationRule:AggregationRule metadata:ObjectMeta rules:[PolicyRule]
ClusterRoleBinding: metadata:ObjectMeta roleRef!:RoleRef subjects:[Subject]
PolicyRule: apiGroups:[] nonResourceURLs:[] resourceNames:[] resources:[] verbs!:[]
Role: metadata:ObjectMeta rules:[PolicyRule]
RoleBinding: metadata:ObjectMeta roleRef!:RoleRef subjects:[Subject]
RoleRef(atomic): apiGroup! kind! name!
Subject(atomic): apiGroup kind! name! namespace
BoundObjectReference: apiVersion kind name uid
SelfSubjectReview: metadata:ObjectMeta status:SelfSubjectReviewStatus
SelfSubjectReviewStatus: userInfo:UserInfo
TokenRequest: metadata:ObjectMeta spec!:TokenRequestSpec status:TokenRequestStatus
TokenRequestSpec: audiences!:[] boundObjectRef:BoundObjectReference expirationSeconds:int64
TokenRequestStatus: expirationTimestamp:time token
TokenReview: metadata:ObjectMeta spec!:TokenReviewSpec status:TokenReviewStatus
TokenReviewSpec: audiences:[] token
TokenReviewStatus: audiences:[] authenticated:bool error user:UserInfo
UserInfo: extra:{[]} groups:[] uid username
LocalSubjectAccessReview: metadata:ObjectMeta spec!:SubjectAccessReviewSpec status:SubjectAccessReviewStatus
NonResourceAttributes: path verb
NonResourceRule: nonResourceURLs:[] verbs!:[]
ResourceAttributes: fieldSelector:any group labelSelector:any name namespace resource subresource verb version
ResourceRule: apiGroups:[] resourceNames:[] resources:[] verbs!:[]
SelfSubjectAccessReview: metadata:ObjectMeta spec!:SelfSubjectAccessReviewSpec status:SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec: nonResourceAttributes:NonResourceAttributes resourceAttributes:ResourceAttributes
SelfSubjectRulesReview: metadata:ObjectMeta spec!:SelfSubjectRulesReviewSpec status:SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: namespace
SubjectAccessReview: metadata:ObjectMeta spec!:SubjectAccessReviewSpec status:SubjectAccessReviewStatus
SubjectAccessReviewSpec: extra:{[]} groups:[] nonResourceAttributes:NonResourceAttributes
  resourceAttributes:ResourceAttributes uid user
SubjectAccessReviewStatus: allowed:bool denied:bool evaluationError reason
SubjectRulesReviewStatus: evaluationError incomplete:bool nonResourceRules:[NonResourceRule]
  resourceRules:[ResourceRule]
`;
